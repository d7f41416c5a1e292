"""What supervision has done and seen lately: `control/<stream>/history.json`.

It lives in the store and not in an Airflow task, so that clearing a task, a new shift or a new scheduler
neither forgets a crash loop nor the unhealthy half of a shift. Times are by the store's clock (UTC).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import zip_longest
from typing import Literal

from pydantic import Field

from millrace.control.desired import DesiredState
from millrace.control.health import Health
from millrace.control.layout import ControlObject, UtcDatetime, history_key, parse
from millrace.control.store_clock import passed
from millrace.store import NotFound, ObjectStore, PreconditionFailed
from millrace.supervision import AlertKind, RestartRules

FIRST_BACKOFF = timedelta(seconds=1)
LONGEST_BACKOFF = timedelta(minutes=5)
HEALTHY_UPTIME = timedelta(minutes=10)
"""A stream that was healthy this long in a row ends the series: the next start is a first attempt."""
KEPT_STARTS = 50
KEPT_CHANGES = 300
KEPT_SHIFTS = 100
"""Four days of shifts of an hour; Airflow's own grid has the rest."""
KEEP_ATTEMPTS = 5


class Start(ControlObject):
    """One start that Airflow ordered; those of the stream host alone are visible as driver epochs."""

    at: UtcDatetime
    kind: Literal["start", "restart"]
    reason: str
    epoch_before: int
    """The newest driver epoch then; the started driver claims a greater one."""
    spec_revision: int
    attempt: int = Field(ge=1)
    backoff_seconds: float
    """No further start before `at` plus this; jittered when it was written down."""

    @property
    def not_before(self) -> datetime:
        return self.at + timedelta(seconds=self.backoff_seconds)


class HealthChange(ControlObject):
    """From `at` on the stream was as said, until the next change."""

    at: UtcDatetime
    state: str
    healthy: bool
    reason: str


class ShiftEntry(ControlObject):
    """The report of one shift, in short."""

    began_at: UtcDatetime
    ended_at: UtcDatetime
    state: str
    reason: str
    records: int
    batches: int
    rejected: int
    restarts: int
    largest_lag: int
    unhealthy_seconds: float
    red: bool
    """Whether it was unhealthy for longer than its budget."""


class Circuit(ControlObject):
    """Open: starts have failed so often that only a slow retry is made, until the stream is healthy again or
    somebody orders something."""

    opened_at: UtcDatetime
    failures: int
    """Starts within the window when it opened."""
    reason: str
    """Of the start that was one too many."""

    def __str__(self) -> str:
        return (
            f"open since {self.opened_at:%Y-%m-%d %H:%M} UTC: {self.failures} starts did not last, the last because "
            f"{self.reason}"
        )


AlertWord = AlertKind | Literal["closed"]


class Alert(ControlObject):
    """A message to people, claimed before it is sent. `closed` ends an incident and is never sent."""

    kind: AlertWord
    at: UtcDatetime
    """When it fell due first; with `kind` its identity."""
    text: str
    quiet: bool = False
    """Nobody wants to be told of this kind; it is noted only."""
    tries: int = 1
    tried_at: UtcDatetime
    sent: bool = False
    problem: str | None = None
    """Why it could not be sent; None also while nobody knows."""

    def __str__(self) -> str:
        outcome = "sent" if self.sent else f"not sent ({self.problem or 'whoever sent it died meanwhile'})"
        return f"{self.at:%Y-%m-%d %H:%M:%S}  {self.kind}, {outcome}: {self.text}"


class History(ControlObject):
    """Oldest first; old entries are dropped."""

    starts: tuple[Start, ...] = ()
    health: tuple[HealthChange, ...] = ()
    shifts: tuple[ShiftEntry, ...] = ()
    circuit: Circuit | None = None
    """None: closed."""
    alerts: tuple[Alert, ...] = ()
    gone_revision: int = 0
    """The revision that asked for a stop and of which the host has said that no process is left; 0: none."""

    @property
    def last_start(self) -> Start | None:
        return self.starts[-1] if self.starts else None

    @property
    def last_health(self) -> HealthChange | None:
        return self.health[-1] if self.health else None

    def is_gone(self, desired: DesiredState) -> bool:
        """Whether the host has said that no process is left of what `desired` asked to stop."""
        return desired.state == "stopped" and self.gone_revision == desired.spec_revision


def with_gone(history: History, desired: DesiredState) -> History:
    """The history after the host has said that no process is left of what `desired` asked to stop."""
    return history.model_copy(update={"gone_revision": desired.spec_revision})


def with_start(
    history: History,
    now: datetime,
    *,
    kind: Literal["start", "restart"],
    reason: str,
    epoch_before: int,
    spec_revision: int,
    jitter: float,
    worked_for: timedelta = timedelta(0),
    rules: RestartRules | None = None,
) -> History:
    """The history after one more start. `jitter`, from 0 to 1, spreads the back-off over 75 % to 100 %.

    `worked_for`: how long the newest driver is known to have done its work, also unseen by supervision.
    """
    rules = rules or RestartRules()
    last = history.last_start
    attempt = 1
    # A changed desired state is a new matter, not one more attempt at the old one.
    same_matter = last is not None and last.spec_revision == spec_revision
    if last is not None and same_matter:
        healthy_for = max(worked_for, _longest_healthy(history, last.at, now))
        attempt = last.attempt + 1 if healthy_for < HEALTHY_UPTIME else 1
    circuit = _circuit(history, attempt, now, reason, rules)
    doubled = FIRST_BACKOFF.total_seconds() * 2 ** min(attempt - 1, 20)
    base = min(doubled, LONGEST_BACKOFF.total_seconds())
    if circuit is not None:
        base = rules.retry_every.total_seconds()
    backoff = base * (0.75 + jitter / 4)
    start = Start(
        at=now,
        kind=kind,
        reason=reason,
        epoch_before=epoch_before,
        spec_revision=spec_revision,
        attempt=attempt,
        backoff_seconds=round(backoff, 1),
    )
    starts = (*history.starts, start)[-KEPT_STARTS:]
    return history.model_copy(update={"starts": starts, "circuit": circuit})


def _circuit(
    history: History, attempt: int, now: datetime, reason: str, rules: RestartRules
) -> Circuit | None:
    """The circuit after one more start, the `attempt`-th of its series."""
    if attempt == 1:
        return None
    if history.circuit is not None:
        return history.circuit
    # A clock that was set back must not make a long series look short: what lies ahead counts as recent.
    recent = [start for start in history.starts if now - start.at < rules.window]
    failures = min(attempt, len(recent) + 1)
    return Circuit(opened_at=now, failures=failures, reason=reason) if failures >= rules.failures else None


def circuit_can_close(history: History, now: datetime) -> bool:
    """Whether an open circuit has seen the stream healthy for long enough."""
    last = history.last_health
    well = last is not None and last.healthy and passed(last.at, HEALTHY_UPTIME, now)
    return history.circuit is not None and well


def _longest_healthy(history: History, since: datetime, until: datetime) -> timedelta:
    """The longest time that the stream was healthy in a row between two moments, as far as it is on record."""
    longest = timedelta(0)
    for change, following in zip_longest(history.health, history.health[1:]):
        if change.healthy:
            end = following.at if following else until
            longest = max(longest, min(end, until) - max(change.at, since))
    return longest


def with_health(history: History, now: datetime, health: Health) -> History:
    """The history with the health of now; unchanged when it says nothing new."""
    last = history.last_health
    if last is not None and last.healthy == health.healthy and (last.healthy or last.state == health.state):
        return history
    change = HealthChange(at=now, state=health.state, healthy=health.healthy, reason=health.reason)
    return history.model_copy(update={"health": (*history.health, change)[-KEPT_CHANGES:]})


def unhealthy_spells(history: History, since: datetime, until: datetime) -> list[tuple[timedelta, str]]:
    """How long and why the stream was not healthy between two moments, in order of time.

    What was before the first change on record counts as healthy: nobody has seen otherwise.
    """
    spells: list[tuple[timedelta, str]] = []
    for change, following in zip_longest(history.health, history.health[1:]):
        end = following.at if following else until
        span = min(end, until) - max(change.at, since)
        if not change.healthy and span > timedelta(0):
            spells.append((span, f"{change.state}: {change.reason}"))
    return spells


@dataclass(frozen=True)
class StoredHistory:
    """A history with the ETag that a change of it must name; None when there is no object yet."""

    history: History
    etag: str | None


def load_history(store: ObjectStore, stream: str) -> StoredHistory:
    """The history, empty when there is none.

    Raises ControlObjectError when the object cannot be understood, StoreUnavailable when unanswered.
    """
    key = history_key(stream)
    try:
        found = store.get(key)
    except NotFound:
        return StoredHistory(History(), None)
    return StoredHistory(parse(History, found.body, key), found.etag)


def write_history(store: ObjectStore, stream: str, history: History, *, replacing: str | None) -> str:
    """Write the history and return its ETag. Raises PreconditionFailed when another supervisor wrote."""
    return store.put(history_key(stream), history.to_body(), if_match=replacing, if_absent=replacing is None)


def keep_shift(store: ObjectStore, stream: str, shift: ShiftEntry) -> None:
    """Add a shift to the history. Raises PreconditionFailed when others write it all the time."""

    def added(history: History) -> History:
        return history.model_copy(update={"shifts": (*history.shifts, shift)[-KEPT_SHIFTS:]})

    change_history(store, stream, added)


def change_history(store: ObjectStore, stream: str, change: Callable[[History], History]) -> None:
    """Change what is there, whoever writes in between. Raises PreconditionFailed when others do so all the time."""
    for attempt in range(KEEP_ATTEMPTS):
        found = load_history(store, stream)
        try:
            write_history(store, stream, change(found.history), replacing=found.etag)
            return
        except PreconditionFailed:
            if attempt == KEEP_ATTEMPTS - 1:
                raise
