"""Hashtags counted: in sliding windows over all sources, and per source, tag and hour.

A tag's `uses` are its occurrences, its `posts` the posts that contain it. Every accepted post counts once, whatever
is repeated and wherever a micro-batch is cut.

`step` is pure: the same state and posts give the same result, to the byte, wherever they are run.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl

from spark_apps.transforms.event_time import HOUR, sources_schema
from spark_apps.transforms.hour_rows import add_to_hours
from spark_apps.transforms.post_intake import SEEN, take_in
from spark_apps.transforms.posts import MILLISECONDS
from spark_apps.transforms.sliding_window import SlidingWindow

PANES = {"tag": pl.String, "pane": pl.Int64, "uses": pl.Int64}
HOURS = {
    "source": pl.String,
    "tag": pl.String,
    "hour": pl.Int64,  # hours since the epoch, UTC
    "posts": pl.Int64,
    "uses": pl.Int64,
}
_HOUR = HOUR * MILLISECONDS


@dataclass(frozen=True)
class TagState:
    """What is carried from one micro-batch to the next.

    `seen`: the posts that could still be repeated. `panes`: uses by tag and part of the newest windows (begin, epoch
    ms). `hours`: the rows of the open hours.
    """

    sources: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=sources_schema()))
    seen: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=SEEN))
    panes: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=PANES))
    hours: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=HOURS))


@dataclass(frozen=True)
class TagStep:
    """`newest_at`: of the newest accepted post so far, epoch ms. `facts`: the rows (HOURS) that changed."""

    state: TagState
    newest_at: int | None
    counted: int
    facts: pl.DataFrame
    rejected: pl.DataFrame


def step(state: TagState, posts: pl.DataFrame, window: SlidingWindow, *, late_by: int) -> TagStep:
    """Fold posts (posts.POSTS, in the order of offsets) into the state; `late_by` in seconds."""
    taken = take_in(state.sources, state.seen, posts, late_by=late_by)
    used = taken.fresh.explode("tags").filter(pl.col("tags").is_not_null()).rename({"tags": "tag"})
    panes = panes_of(pl.concat([state.panes, _as_panes(used, window)]))
    hours, facts = _hours(state.hours, used)
    newest_at = taken.newest_at
    return TagStep(
        state=TagState(
            sources=taken.sources,
            seen=taken.seen,
            panes=window.still_needed(panes, newest_at) if newest_at is not None else panes,
            hours=taken.still_open(hours, until=(pl.col("hour") + 1) * _HOUR),
        ),
        newest_at=newest_at,
        counted=taken.fresh.height,
        facts=facts,
        rejected=taken.rejected,
    )


def panes_of(panes: pl.DataFrame) -> pl.DataFrame:
    """Counts of the same tag and pane as one."""
    return panes.group_by("tag", "pane").agg(pl.col("uses").sum()).sort("pane", "tag")


def tops(panes: pl.DataFrame, window: SlidingWindow, *, at_most: int) -> pl.DataFrame:
    """window_end (epoch ms), tag, count: the most used tags of every window that the panes lie in, in order.

    The most used first, equally used ones in order of tag. A window without a tag has no rows. Exact for every
    window all of whose panes are there.
    """
    return (
        window.windows_of(panes)
        .group_by("window_end", "tag")
        .agg(count=pl.col("uses").sum())
        .sort("window_end", "count", "tag", descending=[False, True, False])
        .group_by("window_end", maintain_order=True)
        .head(at_most)
    )


def newest_top(
    panes: pl.DataFrame, window: SlidingWindow, newest_at: int | None, *, at_most: int
) -> pl.DataFrame:
    """tag, count: the top of the newest window that is over."""
    end = window.newest_end(newest_at) if newest_at is not None else 0
    return tops(panes, window, at_most=at_most).filter(pl.col("window_end") == end).select("tag", "count")


def _as_panes(used: pl.DataFrame, window: SlidingWindow) -> pl.DataFrame:
    return (
        used.group_by("tag", pane=window.pane_of(pl.col("posted_at")))
        .agg(uses=pl.len().cast(pl.Int64))
        .select(list(PANES))
    )


def _hours(hours: pl.DataFrame, used: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The open hours' rows, and those that changed."""
    added = (
        used.group_by("source", "tag", hour=pl.col("posted_at") // _HOUR)
        .agg(posts=pl.col("row").n_unique().cast(pl.Int64), uses=pl.len().cast(pl.Int64))
        .select(list(HOURS))
    )
    return add_to_hours(hours, added)
