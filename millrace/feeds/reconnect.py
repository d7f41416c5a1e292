"""How long to wait before the next attempt to connect: exponential with jitter, forgotten after a success."""

from __future__ import annotations

import random

from millrace.feeds.http import Backoff
from millrace.feeds.source_watch import SourceWatch


class Reconnect:
    """Counts failures in a row."""

    def __init__(self, backoff: Backoff, watch: SourceWatch | None = None) -> None:
        self._backoff = backoff
        self._watch = watch or SourceWatch()
        self.failures = 0

    def worked(self) -> None:
        self.failures = 0
        self._watch.answered()

    def failed(self, problem: str = "") -> float:
        """Seconds until the next attempt: between half of the full wait and all of it, so that many clients of a server
        that was away do not come back at once."""
        self.failures += 1
        self._watch.failed(problem)
        longest = min(self._backoff.longest, self._backoff.first * 2.0 ** min(self.failures - 1, 30))
        return random.uniform(longest / 2, longest)

    @property
    def given_up(self) -> bool:
        """Whether there were as many attempts as allowed."""
        return self._backoff.attempts is not None and self.failures >= self._backoff.attempts
