"""Trying a new version of a stream where its driver is about to begin, and putting the old one back if it is refused.

The outcome is kept first, then the desired state is changed: whoever dies in between finds the outcome, and changes it
the next time.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from datetime import UTC, datetime, timedelta
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
from millrace.control.preflight import Preflight, write_preflight
from millrace.control.status import newest_status
from millrace.control.streamhost import stream_dir
from millrace.control.try_version import Tried, try_version
from millrace.settings import Settings
from millrace.store import ObjectStore, StoreUnavailable

WHO = "preflight"

log = logging.getLogger(__name__)


def redeploy_as_ordered(
    store: ObjectStore, settings: Settings, stream: str, revision: int, within: timedelta
) -> Tried:
    """Try the version of a redeploy, saying so, and keep the outcome; a refusal puts the old version back in force.

    Raises StoreUnavailable; then the order still stands.
    """
    began = time.monotonic()
    tried = try_version(
        stream_dir(settings.home, stream) / "spec.json",
        within,
        lambda seconds: _say(store, stream, revision, "trying", seconds),
    )
    tried = _kept(store, settings, stream, revision, tried)
    _say(store, stream, revision, "ended", time.monotonic() - began)
    return tried


def _say(
    store: ObjectStore, stream: str, revision: int, state: Literal["trying", "ended"], seconds: float
) -> None:
    """How it is with it; a store that does not hear that ends no preflight."""
    preflight = Preflight(
        revision=revision,
        host=socket.gethostname(),
        pid=os.getpid(),
        state=state,
        for_seconds=round(seconds, 1),
    )
    try:
        write_preflight(store, stream, preflight)
    except StoreUnavailable as error:
        log.warning("%s: that a new version is tried could not be said: %s", stream, error)


def _kept(store: ObjectStore, settings: Settings, stream: str, revision: int, tried: Tried) -> Tried:
    """The outcome that stands, from now on at the latest."""
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
