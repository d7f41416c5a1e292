"""Keeping to a number of messages per second."""

from __future__ import annotations

import time
from collections.abc import Callable

from millrace.feeds.stop import Stop

_FORGIVEN = 2.0
"""Seconds. A feed that was held up for longer (Kafka away, a computer asleep) goes on at its rate instead of sending
all that it missed at once, dated now."""
_TICK = 0.02


class Pace:
    """How many messages are due, at `rate` per second; the first at once. `clock` must never go backwards."""

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._clock = clock
        self._began = clock()
        self._given = 0

    def due(self) -> int:
        """How many are due and not yet given."""
        now = self._clock()
        number = int((now - self._began) * self._rate) + 1 - self._given
        if number > max(1.0, _FORGIVEN * self._rate):
            self._began, self._given, number = now, 0, 1
        self._given += number
        return number

    def wait(self, stop: Stop) -> bool:
        """Wait until one is due, at least a short while; False when asked to stop."""
        next_at = self._began + self._given / self._rate
        return not stop.wait(max(_TICK, next_at - self._clock()))
