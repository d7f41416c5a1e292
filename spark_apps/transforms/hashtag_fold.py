"""Hashtags as a fold over Kafka records: facts per source, tag and hour, and the top of the newest window."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import polars as pl

from spark_apps.runtime.keyed_fold import Folded
from spark_apps.transforms.event_time import clocks, sources_schema, window_columns
from spark_apps.transforms.frame_pack import pack_frames, unpack_frames
from spark_apps.transforms.hashtags import HOURS, PANES, TagState, newest_top, step
from spark_apps.transforms.post_intake import SEEN
from spark_apps.transforms.posts import MILLISECONDS, parse_posts
from spark_apps.transforms.sliding_window import SlidingWindow
from spark_apps.transforms.window_view import window_view

NAME, STATE_SCHEMA = "hashtags", 1


@dataclass(frozen=True)
class HashtagFold:
    """The hashtag step behind the runtime's interface. `top`: how many tags the live view has."""

    late_by: timedelta
    window: SlidingWindow
    top: int

    @property
    def is_divisible(self) -> bool:
        return False  # a tag is in the posts of many users, and Kafka's key is the user

    @property
    def lookback(self) -> timedelta | None:
        return timedelta()

    def empty(self) -> TagState:
        return TagState()

    def fold(self, state: TagState, records: pl.DataFrame) -> Folded:
        parsed = parse_posts(records["value"], records["key"], records["timestamp"])
        done = step(state, parsed.posts, self.window, late_by=int(self.late_by.total_seconds()))
        return Folded(
            state=done.state,
            facts=hashtags_hourly(done.facts),
            rejected=pl.concat([parsed.rejected, done.rejected]).sort("row"),
            clocks=clocks(done.state.sources, units=MILLISECONDS),
            observations=done.counted,
            live=self._live(done.state, done.newest_at),
        )

    def pack(self, state: TagState) -> bytes:
        return pack_frames(NAME, STATE_SCHEMA, vars(state))

    def unpack(self, body: bytes) -> TagState:
        columns = {"sources": sources_schema(), "seen": SEEN, "panes": PANES, "hours": HOURS}
        return TagState(**unpack_frames(body, NAME, STATE_SCHEMA, columns))

    def _live(self, state: TagState, newest_at: int | None) -> dict[str, Any]:
        return {
            **window_view(self.window, newest_at),
            "top": newest_top(state.panes, self.window, newest_at, at_most=self.top).to_dicts(),
        }


def hashtags_hourly(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows by hour number as rows of the dataset `hashtags_hourly` (times are microseconds UTC)."""
    return rows.select("source", "tag", **window_columns(pl.col("hour")), posts="posts", uses="uses")
