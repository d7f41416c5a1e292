"""What a driver knows of its own progress, shared between the query's thread and the reporter's."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from spark_apps.runtime.batch_commit import Commit
from spark_apps.runtime.clock import as_datetime
from spark_apps.runtime.micro_batch import BucketSummary

RECENT_BATCHES = 500


class Progress:
    """Counts of this driver's life; every method is safe to call from any thread and does no I/O."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seconds: deque[float] = deque(maxlen=RECENT_BATCHES)
        self._rejected: Counter[str] = Counter()
        self._fields: dict[str, Any] = {"batches": 0, "records": 0, "facts": 0}
        self.next_offsets: dict[str, int] = {}

    def resumed(self, offsets: dict[str, int]) -> None:
        """The driver goes on from these offsets."""
        with self._lock:
            self.next_offsets = dict(offsets)

    def batch_done(self, commit: Commit, summaries: Sequence[BucketSummary], seconds: float) -> None:
        """A micro-batch was committed after so many seconds."""
        now = datetime.now(UTC)
        with self._lock:
            self._seconds.append(seconds)
            for summary in summaries:
                self._rejected.update(summary.rejected)
                self._fields["records"] += summary.records
                self._fields["facts"] += summary.facts
            self._fields["batches"] += 1
            self._fields["last_batch_id"] = commit.manifest.batch
            self._fields["last_batch_at"] = now
            self._fields["last_progress_at"] = now
            water = commit.sealing.watermark
            self._fields["watermark"] = as_datetime(water) if water is not None else None
            self.next_offsets = dict(commit.manifest.offsets)

    @property
    def committed(self) -> tuple[int, dict[str, int]]:
        """Changes with every micro-batch that is committed, here or, before a crash, by an earlier driver."""
        with self._lock:
            return self._fields["batches"], self.next_offsets

    def idle(self) -> None:
        """Nothing waits."""
        with self._lock:
            self._fields["last_idle_at"] = datetime.now(UTC)

    def snapshot(self) -> dict[str, Any]:
        """The fields of DriverStatus that are known here."""
        with self._lock:
            seconds = sorted(self._seconds)
            return {
                **self._fields,
                "rejected": dict(sorted(self._rejected.items())),
                "batch_seconds_p50": _quantile(seconds, 0.50),
                "batch_seconds_p99": _quantile(seconds, 0.99),
            }


def _quantile(ordered: Sequence[float], share: float) -> float | None:
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))], 4) if ordered else None
