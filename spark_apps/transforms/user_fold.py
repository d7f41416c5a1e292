"""Users as a fold over Kafka records: facts per user and hour; who is most active, and whose mood moved most."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import polars as pl

from spark_apps.runtime.keyed_fold import Folded
from spark_apps.transforms.event_time import clocks, sources_schema, window_columns
from spark_apps.transforms.frame_pack import pack_frames, unpack_frames
from spark_apps.transforms.post_intake import SEEN
from spark_apps.transforms.posts import MILLISECONDS, parse_posts
from spark_apps.transforms.sentiment import UNITS
from spark_apps.transforms.users import (
    HOURS,
    MOOD_UNITS,
    PANES,
    USERS,
    UserRules,
    UserState,
    in_window,
    step,
)
from spark_apps.transforms.window_view import window_view

NAME, STATE_SCHEMA = "users", 1


@dataclass(frozen=True)
class UserFold:
    """The user step behind the runtime's interface. `top`: how many users each list of the live view has."""

    rules: UserRules
    top: int

    @property
    def is_divisible(self) -> bool:
        return False  # too late is measured against all users of a source, and so are the live view's lists

    @property
    def lookback(self) -> timedelta | None:
        return None  # moods and totals go on from what was before

    def empty(self) -> UserState:
        return UserState()

    def fold(self, state: UserState, records: pl.DataFrame) -> Folded:
        parsed = parse_posts(records["value"], records["key"], records["timestamp"])
        done = step(state, parsed.posts, self.rules)
        return Folded(
            state=done.state,
            facts=user_hourly(done.facts),
            rejected=pl.concat([parsed.rejected, done.rejected]).sort("row"),
            clocks=clocks(done.state.sources, units=MILLISECONDS),
            observations=done.counted,
            live=self._live(done.state, done.newest_at),
        )

    def pack(self, state: UserState) -> bytes:
        return pack_frames(NAME, STATE_SCHEMA, vars(state))

    def unpack(self, body: bytes) -> UserState:
        columns = {
            "sources": sources_schema(),
            "seen": SEEN,
            "users": USERS,
            "panes": PANES,
            "hours": HOURS,
        }
        return UserState(**unpack_frames(body, NAME, STATE_SCHEMA, columns))

    def _live(self, state: UserState, newest_at: int | None) -> dict[str, Any]:
        users = in_window(state, self.rules.window, newest_at).with_columns(_as_mood("change", "mood"))
        active = users.sort("requests", "user_id", "source", descending=[True, False, False]).head(self.top)
        moved = users.filter(pl.col("change") != 0).sort(
            pl.col("change").abs(), "user_id", "source", descending=[True, False, False]
        )
        return {
            **window_view(self.rules.window, newest_at),
            "users": users.height,
            "requests": int(users["requests"].sum()),
            "remembered": state.users.height,
            "most_active": active.select("source", "user_id", "requests", "total", "mood").to_dicts(),
            "top_movers": moved.head(self.top).select("source", "user_id", "change", "mood").to_dicts(),
        }


def user_hourly(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows by hour number as rows of the dataset `user_hourly` (times are microseconds UTC)."""
    return rows.select(
        "source",
        "user_id",
        **window_columns(pl.col("hour")),
        requests="requests",
        mean_score=pl.col("score") / (pl.col("requests") * UNITS),
        mood=_as_mood("mood"),
        last_posted_at=(pl.col("last_at") * 1000).cast(pl.Datetime("us", "UTC")),
    )


def _as_mood(*names: str) -> pl.Expr:
    """Millionths as the nearest double. Polars divides by a constant as it multiplies by its inverse, which is off
    by a last digit in three of five cases; rounding gives the same double as a division."""
    return (pl.col(names) / MOOD_UNITS).round(6)
