"""Sliding windows over event time: what lies in [end - length, end), for every end that is a multiple of the slide.

Counts are kept in *panes*, the longest stretches that no window cuts (the greatest common divisor of length and
slide), so that a post is counted once and not once for each window that it is in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta

import polars as pl

MOST_PANES = 10_000
"""In one window. 1 h every 7 ms would be 3.6 million of them."""


@dataclass(frozen=True)
class SlidingWindow:
    """Length and slide in milliseconds; both may be any, also a slide longer than the window."""

    length: int
    slide: int

    @classmethod
    def of(cls, length: timedelta, slide: timedelta) -> SlidingWindow:
        """Raises ValueError, in words, for spans that make no window."""
        window = cls(*(round(span / timedelta(milliseconds=1)) for span in (length, slide)))
        if window.length <= 0 or window.slide <= 0:
            raise ValueError("window and slide must be at least 1ms")
        if window.length // window.pane > MOST_PANES:
            raise ValueError(
                f"a window of {window.length} ms every {window.slide} ms has to be counted in "
                f"{window.length // window.pane} parts, the most is {MOST_PANES}: make slide a divisor of window"
            )
        return window

    @property
    def pane(self) -> int:
        """Length of a pane, milliseconds."""
        return math.gcd(self.length, self.slide)

    def pane_of(self, at: pl.Expr) -> pl.Expr:
        """Beginning of the pane that a time (epoch ms) lies in."""
        return at // self.pane * self.pane

    def newest_end(self, newest_at: int) -> int:
        """End (epoch ms) of the newest window that is over when the clock stands at `newest_at`."""
        return newest_at // self.slide * self.slide

    def still_needed(self, panes: pl.DataFrame, newest_at: int) -> pl.DataFrame:
        """The panes (column `pane`) that lie in the newest window that is over, or in one after it."""
        return panes.filter(pl.col("pane") >= self.newest_end(newest_at) - self.length)

    def windows_of(self, panes: pl.DataFrame) -> pl.DataFrame:
        """One row per pane and window that it lies in, with the window's `window_end` (epoch ms)."""
        first = -(-(pl.col("pane") + self.pane) // self.slide) * self.slide
        last = (pl.col("pane") + self.length) // self.slide * self.slide
        return (
            panes.with_columns(window_end=pl.int_ranges(first, last + 1, self.slide))
            .explode("window_end")
            .filter(pl.col("window_end").is_not_null())
        )
