"""Trying a new version of a stream where its driver is about to begin, and putting the old one back if it is refused.

The outcome is kept first, then the desired state is changed: whoever dies in between finds the outcome, and changes it
the next time.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from millrace.control.code_version import code_version
from millrace.control.desired import DesiredState, load_desired, write_desired
from millrace.control.kept_code import kept_code
from millrace.control.orders import (
    Order,
    Outcome,
    newest_order_number,
    put_order,
    put_outcome,
    read_outcome,
)
from millrace.control.status import newest_status
from millrace.control.streamhost import stream_dir
from millrace.settings import Settings
from millrace.store import ObjectStore

TRY_WITHIN = 300.0
"""Seconds; it takes a few, and minutes for a large state."""
WHO = "preflight"


@dataclass(frozen=True)
class Tried:
    """`later`: it could not be tried now (Kafka or the store was away)."""

    outcome: Literal["done", "refused", "later"]
    says: str


def redeploy_as_ordered(store: ObjectStore, settings: Settings, stream: str, revision: int) -> Tried:
    """Try the version of a redeploy and keep the outcome; a refusal puts the old version back in force.

    Raises StoreUnavailable; then the order still stands.
    """
    tried = try_version(stream_dir(settings.home, stream) / "spec.json")
    if tried.outcome == "later":
        return tried
    says = tried.says
    if tried.outcome == "refused":
        says = f"the new version is refused: {says}. {_what_goes_on(store, settings, stream)}"
    put_outcome(
        store,
        stream,
        revision,
        Outcome(outcome=tried.outcome, says=says, at=datetime.now(UTC)),
    )
    kept = read_outcome(store, stream, revision)
    assert kept is not None
    return Tried(kept.outcome, kept.says)


def put_back_if_refused(store: ObjectStore, settings: Settings, stream: str) -> str | None:
    """Put the version back in force that ran before a redeploy that was refused; says what was done, if anything.

    Raises StoreUnavailable, ControlObjectError, and PreconditionFailed when somebody has just ordered something else.
    """
    stored = load_desired(store, stream)
    if stored is None or not stored.desired.redeploy_revision:
        return None
    desired = stored.desired
    outcome = read_outcome(store, stream, desired.redeploy_revision)
    if outcome is None or outcome.outcome != "refused" or desired.previous is None:
        return None
    back = desired.model_copy(
        update={
            "config": desired.previous.config,
            "code": _code_to_go_on_with(store, settings, stream, desired),
            "spec_revision": max(desired.spec_revision, newest_order_number(store, stream)) + 1,
            "redeploy_revision": 0,
            "previous": None,
            "who": WHO,
            "why": f"the redeploy of revision {desired.redeploy_revision} ({desired.who}: {desired.why}) was refused",
            "at": datetime.now(UTC),
        }
    )
    order = Order(
        spec_revision=back.spec_revision,
        decided_on=desired.spec_revision,
        action="redeploy",
        who=back.who,
        why=back.why,
        at=back.at,
        changes=tuple(_changed_back(desired.config, back.config)),
    )
    put_order(store, stream, order)
    write_desired(store, stream, back, replacing=stored.etag)
    return f"revision {back.spec_revision}: {back.why}; the old version goes on"


def try_version(spec: Path) -> Tried:
    """Run the preflight of what is in `spec` and in the working directory, in a process of its own."""
    command = [sys.executable, "-m", "spark_apps.runtime.preflight", "--spec", str(spec)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TRY_WITHIN)
    except subprocess.TimeoutExpired:
        return Tried("refused", f"to try it did not end within {TRY_WITHIN / 60:.0f} min")
    lines = done.stdout.strip().splitlines()
    try:
        said = json.loads(lines[-1])
        passed = {True: "done", False: "refused", None: "later"}[said["passed"]]
        return Tried(passed, said["says"])  # type: ignore[arg-type]
    except (IndexError, ValueError, KeyError, TypeError):
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        ended = f"killed by signal {-done.returncode}" if done.returncode < 0 else f"exit {done.returncode}"
        return Tried("refused", f"its code does not run ({ended}): {last}")


def _what_goes_on(store: ObjectStore, settings: Settings, stream: str) -> str:
    stored = load_desired(store, stream)
    if stored is None or stored.desired.previous is None:
        return "Nothing ran before it"
    desired = stored.desired
    ran = _ran(store, stream)
    now = code_version(_app(desired))
    if ran is None or ran == now:
        return "The old configuration is started again"
    if _code_to_go_on_with(store, settings, stream, desired) is None:
        return (
            f"The old configuration is started again, with the code that is there ({now}), as the old code ({ran}) is "
            "not kept on this host"
        )
    return f"The old configuration is started again, with the old code ({ran}), until the next redeploy"


def _code_to_go_on_with(
    store: ObjectStore, settings: Settings, stream: str, desired: DesiredState
) -> str | None:
    """The version that ran last, when it is another than the one that is there, and kept."""
    ran = _ran(store, stream)
    shared = bool(desired.previous and desired.previous.config.get("driver"))
    # A shared driver is one process: it cannot run one stream from another version.
    if ran is None or shared or ran == code_version(_app(desired)):
        return None
    return ran if kept_code(settings.home, stream, ran) is not None else None


def _changed_back(refused: dict[str, Any], back: dict[str, Any]) -> list[str]:
    return [
        f"{key}: {refused.get(key)!r} was refused, {back.get(key)!r} goes on"
        for key in sorted(refused.keys() | back.keys())
        if refused.get(key) != back.get(key)
    ]


def _app(desired: DesiredState) -> str:
    version = desired.previous.config if desired.previous else desired.config
    return str(version.get("app", ""))


def _ran(store: ObjectStore, stream: str) -> str | None:
    status = newest_status(store, stream)
    return status.code if status else None
