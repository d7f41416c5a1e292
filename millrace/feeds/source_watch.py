"""What a feed has done and what its source says, counted where all kinds pass by: the sink, the fetcher, the
connection that is made again. Nothing here asks anybody; a reporter reads it from another thread.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from millrace.control.feed_report import FeedReport


@dataclass(frozen=True)
class Seen:
    """What was seen up to now: `stored` messages that Kafka has acknowledged, `waiting` ones that it has not yet;
    `rejected` by reason."""

    stored: int
    waiting: int
    rejected: dict[str, int]
    last_stored_at: datetime | None
    report: FeedReport


class SourceWatch:
    """Safe to be told and asked from any thread; being told costs less than a microsecond. `clock`: epoch seconds."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._now = clock
        self._lock = threading.Lock()
        self._sent = self._stored = 0
        self._last_stored_at: float | None = None
        self._last_sent_at: float | None = None
        self._waiting_since: float | None = None
        self._unreadable: str | None = None
        self._rejected: Counter[str] = Counter()
        self._problems: dict[str, tuple[float, str]] = {}
        self._report: dict[str, float | None] = {}

    def runs_at(self, pace: float | None) -> None:
        """It should send at least once in so many seconds; None: that depends on the source."""
        with self._lock:
            self._report["pace"] = pace

    def sent(self) -> None:
        """A message is handed over to be sent."""
        with self._lock:
            now = self._now()
            if self._sent == self._stored:
                self._waiting_since = now
            self._sent += 1
            self._last_sent_at, self._unreadable = now, None

    def stored(self) -> None:
        """Kafka has acknowledged a message."""
        with self._lock:
            self._stored += 1
            self._waiting_since = self._last_stored_at = self._now()

    def rejected(self, reason: str, detail: str) -> None:
        """Something could not be read."""
        with self._lock:
            self._rejected[reason] += 1
            self._unreadable = _sayable(f"{reason}: {detail}")

    def answered(self, source: str = "") -> None:
        """One of the feed's sources has answered, whatever it says; the addresses of others may still be silent."""
        with self._lock:
            self._problems.pop(source, None)
            self._report["answered_at"] = self._now()

    def nothing_new(self) -> None:
        """The source says that it has nothing new, or has not yet had anything to say since it was connected."""
        with self._lock:
            self._report["nothing_new_at"], self._unreadable = self._now(), None

    def failed(self, problem: str, source: str = "") -> None:
        """A source does not answer, or refuses; counts from the first time on, until it answers again."""
        with self._lock:
            since, _ = self._problems.get(source, (self._now(), problem))
            self._problems[source] = since, _sayable(problem)

    def seen(self) -> Seen:
        with self._lock:
            fields = {**self._report, **self._oldest_problem()}
            fields |= {"last_sent_at": self._last_sent_at, "unreadable": self._unreadable}
            fields["waiting_since"] = self._waiting_since if self._sent > self._stored else None
            stored_at = self._last_stored_at
            return Seen(
                self._stored,
                self._sent - self._stored,
                dict(self._rejected),
                None if stored_at is None else datetime.fromtimestamp(stored_at, UTC),
                FeedReport.model_validate(fields),
            )

    def _oldest_problem(self) -> dict[str, Any]:
        if not self._problems:
            return {}
        source, (since, problem) = min(self._problems.items(), key=lambda item: item[1][0])
        others = f", and {len(self._problems) - 1} more" if len(self._problems) > 1 else ""
        return {"problem": f"{source}: {problem}{others}" if source else problem, "problem_since": since}


def _sayable(text: str) -> str:
    """A text that quotes what came, without halves of surrogate pairs: no status could be written with them."""
    return text.encode("utf-8", "replace").decode("utf-8")
