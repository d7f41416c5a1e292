"""Users and what they do: requests (posts) in all and in a sliding window, a mood, and both per user and hour.

A user is known by source and id. The mood begins at 0 and goes with each post a part of the way to the post's score:
mood' = mood + alpha * (score - mood), in order of offsets. Moods and alpha are whole millionths (a half is rounded
up), so every sum is exact, on every machine and wherever a micro-batch is cut. A user who posts again after more than
`expire_after` begins anew: nothing is lost when such users are forgotten, and memory is bounded by the active ones.

`step` is pure: the same state and posts give the same result, to the byte, wherever they are run.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl

from spark_apps.transforms.event_time import HOUR, sources_schema
from spark_apps.transforms.post_intake import SEEN, take_in
from spark_apps.transforms.posts import MILLISECONDS
from spark_apps.transforms.sentiment import UNITS, score
from spark_apps.transforms.sliding_window import SlidingWindow

MOOD_UNITS = 1_000_000
USER = ["source", "user_id"]
USERS = {
    "source": pl.String,
    "user_id": pl.String,
    "requests": pl.Int64,
    "mood": pl.Int64,  # millionths
    "last_at": pl.Int64,  # epoch ms
}
PANES = {
    "source": pl.String,
    "user_id": pl.String,
    "pane": pl.Int64,  # epoch ms
    "requests": pl.Int64,
    "change": pl.Int64,  # of the mood, millionths
}
HOURS = {
    "source": pl.String,
    "user_id": pl.String,
    "hour": pl.Int64,  # hours since the epoch, UTC
    "requests": pl.Int64,
    "score": pl.Int64,  # sum, in sentiment.UNITS
    "mood": pl.Int64,  # after the last post (by offset) of the hour
    "last_at": pl.Int64,
}
_HOUR = HOUR * MILLISECONDS


@dataclass(frozen=True)
class UserRules:
    """`late_by` in seconds, `expire_after` in milliseconds; `alpha`: weight of a new post in the mood, millionths."""

    late_by: int
    window: SlidingWindow
    alpha: int
    expire_after: int


@dataclass(frozen=True)
class UserState:
    """What is carried from one micro-batch to the next.

    `seen`: the posts that could still be repeated. `users`: those who have not expired. `panes`: what they did in the
    parts of the newest windows. `hours`: the rows of the open hours.
    """

    sources: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=sources_schema()))
    seen: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=SEEN))
    users: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=USERS))
    panes: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=PANES))
    hours: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=HOURS))


@dataclass(frozen=True)
class UserStep:
    """`newest_at`: of the newest accepted post so far, epoch ms. `facts`: the rows (HOURS) that changed."""

    state: UserState
    newest_at: int | None
    counted: int
    facts: pl.DataFrame
    rejected: pl.DataFrame


def step(state: UserState, posts: pl.DataFrame, rules: UserRules) -> UserStep:
    """Fold posts (posts.POSTS, in the order of offsets) into the state."""
    taken = take_in(state.sources, state.seen, posts, late_by=rules.late_by)
    users, felt = _users(state.users, taken.fresh, rules)
    panes = _panes(state.panes, felt, rules.window)
    hours, facts = _hours(state.hours, felt)
    newest_at = taken.newest_at
    return UserStep(
        state=UserState(
            sources=taken.sources,
            seen=taken.seen,
            users=taken.still_open(users, until=pl.col("last_at") + rules.expire_after + 1),
            panes=rules.window.still_needed(panes, newest_at) if newest_at is not None else panes,
            hours=taken.still_open(hours, until=(pl.col("hour") + 1) * _HOUR),
        ),
        newest_at=newest_at,
        counted=taken.fresh.height,
        facts=facts,
        rejected=taken.rejected,
    )


def in_window(state: UserState, window: SlidingWindow, newest_at: int | None) -> pl.DataFrame:
    """source, user_id, requests, change, total, mood: who posted in the newest window that is over; in no order."""
    end = window.newest_end(newest_at) if newest_at is not None else 0
    panes = state.panes.filter((pl.col("pane") >= end - window.length) & (pl.col("pane") < end))
    sums = panes.group_by(USER).agg(pl.col("requests", "change").sum())
    return sums.join(state.users.select(*USER, "mood", total="requests"), on=USER, how="inner")


def _users(users: pl.DataFrame, fresh: pl.DataFrame, rules: UserRules) -> tuple[pl.DataFrame, pl.DataFrame]:
    """All users after the posts; and the posts with `score`, and the `change` and `mood` that they led to."""
    of_batch = fresh.select(USER).unique()
    known: dict[tuple[str, str], tuple[int, int, int]] = {
        (source, user): (requests, mood, last_at)
        for source, user, requests, mood, last_at in users.join(of_batch, on=USER, how="semi").iter_rows()
    }
    felt = []
    for source, user, at, text in fresh.select(*USER, "posted_at", "text").iter_rows():
        requests, mood, last_at = known.get((source, user), (0, 0, at))
        if at > last_at + rules.expire_after:
            requests, mood, last_at = 0, 0, at
        scored = score(text)
        way = scored * (MOOD_UNITS // UNITS) - mood
        change = (rules.alpha * way + MOOD_UNITS // 2) // MOOD_UNITS
        known[source, user] = (requests + 1, mood + change, max(last_at, at))
        felt.append((scored, change, mood + change))
    changed = pl.DataFrame([(*user, *now) for user, now in known.items()], schema=USERS, orient="row")
    columns = {"score": pl.Int64, "change": pl.Int64, "mood": pl.Int64}
    told = fresh.hstack(pl.DataFrame(felt, schema=columns, orient="row"))
    return pl.concat([users.join(of_batch, on=USER, how="anti"), changed]).sort(USER), told


def _panes(panes: pl.DataFrame, felt: pl.DataFrame, window: SlidingWindow) -> pl.DataFrame:
    added = felt.select(
        *USER, pane=window.pane_of(pl.col("posted_at")), requests=pl.lit(1, pl.Int64), change="change"
    )
    return (
        pl.concat([panes, added])
        .group_by(*USER, "pane")
        .agg(pl.col("requests", "change").sum())
        .sort(*USER, "pane")
    )


def _hours(hours: pl.DataFrame, felt: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The open hours' rows, and those that changed."""
    key = [*USER, "hour"]
    added = felt.select(
        *USER,
        hour=pl.col("posted_at") // _HOUR,
        requests=pl.lit(1, pl.Int64),
        score="score",
        mood="mood",
        last_at="posted_at",
    )
    known = hours.join(added, on=key, how="semi")
    changed = (
        pl.concat([known, added])
        .group_by(key, maintain_order=True)
        .agg(pl.col("requests", "score").sum(), pl.col("mood").last(), pl.col("last_at").max())
        .sort("hour", *USER)
    )
    kept = pl.concat([hours.join(added, on=key, how="anti"), changed]).sort("hour", *USER)
    return kept, changed
