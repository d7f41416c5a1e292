"""Carrying an order out and watching it arrive, for whoever gave it: a command line or an Airflow task.

Supervision by the stream's own DAG does the same turns; both may be at it, since a turn that starts something
is written to the history first, and only one of two gets it written. So an order is carried out also while
that DAG is paused, or Airflow away.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from millrace.control import exit_codes
from millrace.control.attention import what_needs_attention
from millrace.control.health import MOVING
from millrace.control.order import Given
from millrace.control.orders import read_outcome
from millrace.control.process import NOT_RUNNING, LauncherError
from millrace.control.reconcile import Reconciler
from millrace.control.story import Message
from millrace.control.view import StreamView, read_view
from millrace.store import StoreUnavailable

LOOK_EVERY = 1.0
STOP_MARGIN = timedelta(seconds=30)

Tell = Callable[[Message], None]


@dataclass(frozen=True)
class Arrival:
    """`reached`: the stream does what was ordered. `failed`: its driver ended for good, or the order was refused.
    `overtaken`: somebody ordered something else. `late`: not there yet; supervision goes on with it."""

    kind: Literal["reached", "failed", "overtaken", "late"]
    says: str


def carry_out(reconciler: Reconciler, tell: Tell) -> timedelta:
    """One turn of supervision right after an order; returns for how long there is nothing more to do."""
    turn = reconciler.turn()
    for message in turn.messages:
        tell(message)
    return turn.quiet_for


def follow(
    reconciler: Reconciler,
    given: Given,
    tell: Tell,
    *,
    within: timedelta | None = None,
    sleep: Callable[[float], None] = time.sleep,
    monotonic: Callable[[], float] = time.monotonic,
) -> Arrival:
    """Do the turns that the order needs until the stream has arrived, or time is up (`within`, default by the
    stream's own thresholds). An outage of the store is waited out."""
    revision = given.desired.spec_revision
    began = monotonic()
    quiet_until = began
    first = True
    deadline: float | None = None
    says = "nothing could be seen of it"
    while True:
        try:
            view = read_view(reconciler.store, given.stream, datetime.now(UTC), reconciler.spec.rules)
            if deadline is None:
                deadline = began + (within or _patience(given, view)).total_seconds()
            arrival = _arrival(reconciler, given, view)
            if arrival is not None:
                return arrival
            says = str(view.health)
            quiet = monotonic() < quiet_until
            if first or what_needs_attention(view, revision, quiet=quiet):
                first = False
                quiet_until = monotonic() + carry_out(reconciler, tell).total_seconds()
        except StoreUnavailable as error:
            says = f"the store does not answer: {error}"
        if deadline is not None and monotonic() >= deadline:
            return Arrival("late", f"{given.stream} is not there yet ({says})")
        if deadline is None and monotonic() >= began + STOP_MARGIN.total_seconds():
            return Arrival("late", f"{given.stream}: {says}")
        sleep(LOOK_EVERY)


def _patience(given: Given, view: StreamView) -> timedelta:
    thresholds = view.thresholds
    tried = thresholds.preflight_within if given.order.action == "redeploy" else timedelta(0)
    return thresholds.stop_within + tried + 2 * thresholds.start_within + STOP_MARGIN


def _arrival(reconciler: Reconciler, given: Given, view: StreamView) -> Arrival | None:
    name, revision, desired = given.stream, given.desired.spec_revision, view.desired
    said = read_outcome(reconciler.store, name, revision) if given.order.action == "redeploy" else None
    if said is not None and said.outcome == "refused":
        return Arrival("failed", f"{name} was not redeployed: {said.says}")
    if desired is None or desired.spec_revision > revision:
        other = f"{desired.who} ordered it {desired.state}: {desired.why}" if desired else "it is gone"
        return Arrival("overtaken", f"{name}: the desired state was changed in the meantime: {other}")
    if desired.state == "stopped":
        return Arrival("reached", f"{name} is stopped") if _is_down(reconciler, view) else None
    if view.status is None or view.status.status.spec_revision < revision:
        return None
    status, health = view.status.status, view.health
    if status.state == "failed" and status.exit_code in exit_codes.NOT_RESTARTED:
        return Arrival("failed", f"{name} does not run: {health}")
    if health.state not in MOVING:
        return None
    if given.order.action == "reset":
        outcome = read_outcome(reconciler.store, name, revision)
        if outcome is None:
            return None
        if outcome.outcome == "refused":
            return Arrival("failed", f"{name} was not reset and goes on as it was: {outcome.says}")
        return Arrival("reached", f"{outcome.says}; {name} is {health}")
    return Arrival("reached", f"{said.says}; {name} is {health}" if said else f"{name} is {health}")


def _is_down(reconciler: Reconciler, view: StreamView) -> bool:
    """Whether nothing of the driver is left: by the host's word, or without it by the driver's own."""
    try:
        return reconciler.launcher.state(reconciler.spec.name).state in NOT_RUNNING
    except LauncherError:
        return view.health.state in ("stopped", "failed", "fenced")
