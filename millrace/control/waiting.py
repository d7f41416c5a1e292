"""What waits in a stream's source over time: for how long nothing has moved, and whether the lag comes down.

A driver keeps this and says it in its status, so that a watcher may be away, be started anew, or look once an
hour. By the monotonic clock alone: a step of the machine's clock neither makes a stall nor hides one.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from millrace.supervision import LAG_SPAN, LAG_SPANS


class Waiting:
    """Safe to call from any thread; does no I/O."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._still_since: float | None = None
        self._done: object = None
        self._lows: deque[int] = deque(maxlen=LAG_SPANS)
        self._span: int | None = None

    def look(self, lag: int | None, done: object) -> None:
        """`lag`: the records that wait, None when that is not known. `done`: anything that changes when a
        micro-batch was committed."""
        now = self._monotonic()
        with self._lock:
            if lag is None:  # Kafka is away: that nothing moves is no fault of the query
                self._still_since = None
                return
            if lag == 0:
                self._still_since = None
            elif self._still_since is None or done != self._done:
                self._still_since = now
            self._done = done
            self._keep_low(lag, int(now / LAG_SPAN.total_seconds()))

    def still_seconds(self) -> float:
        """For how long records have waited while nothing was committed; 0 when none wait."""
        with self._lock:
            return 0.0 if self._still_since is None else round(self._monotonic() - self._still_since, 1)

    def lows(self) -> tuple[int, ...]:
        """The lowest lag of each LAG_SPAN, oldest first; the last one is of the span at hand."""
        with self._lock:
            return tuple(self._lows)

    def _keep_low(self, lag: int, span: int) -> None:
        if self._span is not None and span == self._span:
            self._lows[-1] = min(self._lows[-1], lag)
            return
        # Spans without a look (the source did not answer) repeat what was known: unknown is no progress.
        missed = min(span - self._span - 1, LAG_SPANS) if self._span is not None else 0
        self._lows.extend([self._lows[-1]] * missed if missed else [])
        self._lows.append(lag)
        self._span = span


def comes_down(lows: tuple[int, ...], spans: int, floor: int = 0) -> bool:
    """Whether the lag has come down within the last so many whole spans; also true when less is known.

    It has when it was at most `floor` in one of them, when the second half of the time saw a lower lag than the
    first, or when it falls just now (the last quarter is lower than the one before): a burst that is being worked
    off is no growth.
    """
    whole = lows[:-1]
    if len(whole) < spans:
        return True
    seen = whole[-spans:]
    if min(seen) <= floor:
        return True
    half, quarter = spans // 2, max(spans // 4, 1)
    return min(seen[half:]) < min(seen[:half]) or min(seen[-quarter:]) < min(seen[-2 * quarter : -quarter])
