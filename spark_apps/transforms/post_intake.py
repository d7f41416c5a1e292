"""Which posts count: in time, and for the first time. The same for every stream that reads posts. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import polars as pl

from spark_apps.transforms.event_time import REJECTED, advance, judge
from spark_apps.transforms.posts import MILLISECONDS
from spark_apps.transforms.repeats import without_repeats

IDENTITY = ["source", "post_id", "posted_at"]
SEEN = {"source": pl.String, "post_id": pl.String, "posted_at": pl.Int64, "mark": pl.Int64}


@dataclass(frozen=True)
class Intake:
    """`fresh`: the posts that count (posts.POSTS), in the order of offsets. `sources` and `seen`: what is known now.

    `open_since`: source, open_since: epoch milliseconds before which no post of it will be accepted any more.
    """

    fresh: pl.DataFrame
    sources: pl.DataFrame
    seen: pl.DataFrame
    open_since: pl.DataFrame
    rejected: pl.DataFrame

    @property
    def newest_at(self) -> int | None:
        """Time of the newest accepted post of any source, epoch milliseconds UTC."""
        newest = self.sources["newest_at"].max()
        return int(newest) if isinstance(newest, int) else None

    def still_open(self, rows: pl.DataFrame, until: pl.Expr) -> pl.DataFrame:
        """The rows (with a `source`) that a post could still change; `until`: the time (ms) when each is over."""
        held = rows.join(self.open_since, on="source", how="left", maintain_order="left")
        return held.filter(pl.col("open_since").is_null() | (until > pl.col("open_since"))).select(
            rows.columns
        )


def take_in(sources: pl.DataFrame, seen: pl.DataFrame, posts: pl.DataFrame, *, late_by: int) -> Intake:
    """Judge posts (posts.POSTS, in the order of offsets) against what is known; `late_by` in seconds.

    Every source has its own clock: too late is measured against the newest earlier post of the same source. A post
    is known by its source, id and time; the first of that name counts, another that says something else is rejected.
    """
    judged = judge(posts, sources, late_by=late_by, time="posted_at", units=MILLISECONDS, what="post")
    in_time = judged.filter(pl.col("reason").is_null())
    sources = advance(sources, in_time, time="posted_at")
    written = in_time.filter(~pl.col("end_of_input")).select(posts.columns)
    fresh, seen, conflicts = without_repeats(seen, written.with_columns(mark=_marks(written)), IDENTITY)
    open_since = sources.select("source", open_since=pl.col("newest_at") - late_by * MILLISECONDS)
    rejected = [
        judged.filter(pl.col("reason").is_not_null()).select(list(REJECTED)),
        conflicts.select(
            "row",
            reason=pl.lit("conflicting_id"),
            detail=pl.format("another post {} of that time came before it; that one counts", "post_id"),
        ),
    ]
    taken = Intake(fresh.drop("mark"), sources, seen, open_since, pl.concat(rejected).sort("row"))
    remembered = taken.still_open(seen, until=pl.col("posted_at") + 1)
    return Intake(taken.fresh, sources, remembered, open_since, taken.rejected)


def _marks(posts: pl.DataFrame) -> pl.Series:
    """What each post says besides its identity, as a number."""
    said = posts.select("user_id", "text", pl.col("tags").list.join("\0")).iter_rows()
    digests = (hashlib.blake2b("\0".join(one).encode(), digest_size=8).digest() for one in said)
    numbers = [int.from_bytes(digest, "big", signed=True) for digest in digests]
    return pl.Series("mark", numbers, dtype=pl.Int64)
