"""For how long who has found its epoch to be the newest may act on that: until a successor could begin.

A successor begins when the one before it has ended, or has not said a word for `silent_after`. Who cannot reach the
store cannot say a word, and does not hear of a successor; so it must have fallen silent elsewhere before then.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta

SHARE = 2 / 3
"""Of `silent_after`. The rest is for the store's times, which are whole seconds, for clocks that do not run alike, and
for what is on its way: that has half of the rest to arrive."""


def _seconds() -> float:
    """A clock that nobody sets, and that goes on while the machine sleeps where there is such a one."""
    clock: int | None = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


class Lease:
    """Not held before the first `renew`. Safe to be asked and renewed from any thread."""

    def __init__(self, silent_after: timedelta, now: Callable[[], float] = _seconds) -> None:
        self.seconds = silent_after.total_seconds() * SHARE
        self.now = now
        self._ends_at = float("-inf")

    def renew(self, asked_at: float) -> None:
        """The store has just said that the epoch is the newest; `asked_at`: `now()` when that question was begun."""
        self._ends_at = max(self._ends_at, asked_at + self.seconds)

    @property
    def held(self) -> bool:
        return self.now() < self._ends_at

    @property
    def is_over(self) -> bool:
        """Whether it ended so long ago that a successor may be about to begin."""
        return self.now() >= self._ends_at + self.seconds * (1 / SHARE - 1) / 2


def patience_with(lease_seconds: float) -> timedelta:
    """How long whoever has such a lease must have been silent before a successor may begin."""
    return timedelta(seconds=lease_seconds / SHARE)
