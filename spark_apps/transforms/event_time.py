"""When a record counts: not from the future, not too late; the same wherever a micro-batch is cut. Pure.

Records come from *sources* (a bike system, a feed of posts), each with a clock of its own. Times are integers,
in `units` per second: 1 for seconds, 1000 for milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from spark_apps.runtime.clock import SourceClock

HOUR = 3600
FUTURE = 300
"""Seconds by which a record may be dated after its arrival in Kafka: clocks differ, but not by more."""

REJECTED = {"row": pl.UInt32, "reason": pl.String, "detail": pl.String}


def sources_schema(source: str = "source") -> dict[str, type[pl.DataType]]:
    """What is known of each source: newest accepted time (in units), newest Kafka timestamp (ms), whether it ended."""
    return {source: pl.String, "newest_at": pl.Int64, "heard_at": pl.Int64, "ended": pl.Boolean}


def judge(
    records: pl.DataFrame,
    sources: pl.DataFrame,
    *,
    late_by: int,
    source: str = "source",
    time: str = "at",
    units: int = 1,
    what: str = "record",
) -> pl.DataFrame:
    """The records with `reason` and `detail`: null, future or too_late. An end of input is never late.

    `records`: the columns `source`, `time`, kafka_at (epoch ms) and end_of_input, in the order of offsets.
    `late_by` in seconds. Too late is measured against the records before it, not against a watermark that
    moves at the end of a micro-batch, so where one batch ends and the next begins makes no difference.
    """
    at = pl.col(time)
    is_future = at * (1000 // units) > pl.col("kafka_at") + FUTURE * 1000
    judged = records.join(
        sources.select(source, "newest_at"), on=source, how="left", maintain_order="left"
    ).with_columns(future=is_future)
    counted = pl.when(~pl.col("future") & ~pl.col("end_of_input")).then(at)
    judged = judged.with_columns(
        newest_before=pl.max_horizontal("newest_at", counted.cum_max().forward_fill().shift(1).over(source))
    )
    is_late = (at < pl.col("newest_before") - late_by * units).fill_null(False)
    reason = (
        pl.when(pl.col("end_of_input"))
        .then(None)
        .when("future")
        .then(pl.lit("future"))
        .when(is_late)
        .then(pl.lit("too_late"))
    )
    ahead = (at * (1000 // units) - pl.col("kafka_at")) // 1000
    behind = (pl.col("newest_before") - at) // units
    detail = (
        pl.when(reason == "future")
        .then(pl.format("{} s after its arrival in Kafka", ahead))
        .when(reason == "too_late")
        .then(
            pl.format(
                "{} s older than the newest {} of its {}; {} s are allowed",
                behind,
                pl.lit(what),
                pl.lit(source.removesuffix("_id")),
                late_by,
            )
        )
    )
    return judged.with_columns(reason=reason, detail=detail)


def advance(
    sources: pl.DataFrame, accepted: pl.DataFrame, *, source: str = "source", time: str = "at"
) -> pl.DataFrame:
    """The sources' clocks after the accepted records; a source that speaks again has not ended."""
    heard = accepted.group_by(source, maintain_order=True).agg(
        newest_at=pl.col(time).filter(~pl.col("end_of_input")).max(),
        heard_at=pl.col("kafka_at").max(),
        ended=pl.col("end_of_input").last(),
    )
    return (
        pl.concat([sources, heard.select(list(sources_schema(source)))])
        .group_by(source, maintain_order=True)
        .agg(pl.col("newest_at").max(), pl.col("heard_at").max(), pl.col("ended").last())
        .sort(source)
    )


def clocks(sources: pl.DataFrame, *, units: int = 1) -> dict[str, SourceClock]:
    """The sources' clocks as the runtime takes them, in seconds."""
    return {
        name: SourceClock(newest_at // units if newest_at is not None else None, heard_at, ended)
        for name, newest_at, heard_at, ended in sources.iter_rows()
    }


def rejections(rows: Iterable[tuple[int, str, str]]) -> pl.DataFrame:
    """Rejected records as a frame (REJECTED), in order."""
    return pl.DataFrame(sorted(rows), schema=REJECTED, orient="row")


def window_columns(hour: pl.Expr) -> dict[str, pl.Expr]:
    """`window_start` and `window_end` (us UTC) of an hour number since the epoch."""
    times = pl.Datetime("us", "UTC")
    return {
        "window_start": (hour * HOUR * 1_000_000).cast(times),
        "window_end": ((hour + 1) * HOUR * 1_000_000).cast(times),
    }
