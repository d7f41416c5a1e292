"""The past that a made-up feed begins with, so that the first hours are there at once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta


def past_moments(now: float, history: timedelta, rate: float) -> Iterator[float]:
    """When the messages of the last `history` would have been sent, `rate` a second: epoch seconds, before `now`."""
    seconds = history.total_seconds()
    for number in range(int(seconds * rate)):
        yield now - seconds + number / rate
