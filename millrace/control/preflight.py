"""What the process that tries a new version says meanwhile: `control/<stream>/preflight.json`.

It takes the time that a large state takes, has no driver epoch yet, and is no driver that hangs. The last word stays
there, as that of a driver does.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from millrace.control.layout import ControlObject, parse, preflight_key
from millrace.control.spans import in_words
from millrace.store import NotFound, ObjectStore

BEAT_EVERY = 5.0
"""Seconds from one word to the next, as of a driver."""
OVERTIME = timedelta(minutes=1)
"""What tries a version ends that by itself when its time is up; if it does not, so long after it is one that hangs."""


class Preflight(ControlObject):
    """Of the redeploy with this revision, by this process; `trying`, or `ended` with whatever outcome."""

    revision: int
    host: str
    pid: int
    state: Literal["trying", "ended"]
    for_seconds: float
    """Since it began, by a clock that cannot be set."""


@dataclass(frozen=True)
class PreflightObservation:
    """A word of it with when the store says that it was written."""

    preflight: Preflight
    written_at: datetime

    def is_under_way(self, now: datetime, *, silent_after: timedelta, within: timedelta) -> bool:
        """Whether it is still at it, and may be: not without a word, and not beyond its time."""
        tried_for = timedelta(seconds=self.preflight.for_seconds)
        said_lately = abs(now - self.written_at) <= silent_after
        return self.preflight.state == "trying" and said_lately and tried_for <= within + OVERTIME

    def ended_by(self, pid: int | None) -> bool:
        """Whether this process is through with it: it becomes the driver, and is about to report as one."""
        return self.preflight.state == "ended" and self.preflight.pid == pid

    def in_words(self, within: timedelta) -> str:
        tried_for = timedelta(seconds=self.preflight.for_seconds)
        return (
            f"the new version of revision {self.preflight.revision} is tried on the state, for {in_words(tried_for)} "
            f"until now and at most {in_words(within)} (preflight_within); pid {self.preflight.pid} on "
            f"{self.preflight.host}"
        )


def write_preflight(store: ObjectStore, stream: str, preflight: Preflight) -> None:
    """Say how it is with it. Raises StoreUnavailable."""
    store.put(preflight_key(stream), preflight.to_body())


def observe_preflight(store: ObjectStore, stream: str) -> PreflightObservation | None:
    """The last word of a preflight; None when there never was one.

    Raises ControlObjectError when it cannot be understood, StoreUnavailable when unanswered.
    """
    key = preflight_key(stream)
    try:
        found = store.get(key)
    except NotFound:
        return None
    return PreflightObservation(parse(Preflight, found.body, key), found.last_modified)
