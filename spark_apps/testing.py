"""Trying a stream out without a source: micro-batches that were queued in memory, through a real Spark stream.

Spark's own in-memory source is not for Python. Here Spark counts micro-batches (its source `rate-micro-batch`), and
each number stands for one of the queued batches: the same on every run, with an event time that moves on by itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, Row, SparkSession

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def queued(
    spark: SparkSession, batches: Sequence[Sequence[str]], *, every: float = 1.0, start: datetime = START
) -> DataFrame:
    """A stream of the columns value (string) and timestamp, one queued batch per micro-batch, in order.

    The first batch is of the time `start`, each following one `every` seconds later. After the last come empty ones.
    """
    from pyspark.sql import functions as F

    numbers = (
        spark.readStream.format("rate-micro-batch")
        .option("rowsPerBatch", 1)
        .option("numPartitions", 1)
        .option("startTimestamp", int(start.timestamp() * 1000))
        .option("advanceMillisPerBatch", int(every * 1000))
        .load()
    )
    texts = F.array(*(F.array(*map(F.lit, batch)).cast("array<string>") for batch in batches))
    lines = F.get(texts, F.col("value").cast("int"))  # null behind the last, which explodes to nothing
    return numbers.select(F.explode(lines).alias("value"), "timestamp")


def first_batches(
    frame: DataFrame,
    batches: int,
    each: Callable[[DataFrame, int], object],
    *,
    mode: str = "append",
    timeout: float = 120.0,
) -> None:
    """Run a query over a queued stream: `each` gets the rows and the number of its first micro-batches.

    `mode`: append, update or complete, as of any Spark query. `timeout` in seconds. Raises what the query raises,
    and TimeoutError.
    """
    done: set[int] = set()

    def take(rows: DataFrame, batch: int) -> None:
        if batch < batches:
            each(rows, batch)
            done.add(batch)

    query = frame.writeStream.outputMode(mode).foreachBatch(take).start()
    deadline = time.monotonic() + timeout
    try:
        while len(done) < batches:
            if not query.isActive and (error := query.exception()) is not None:
                raise error
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(done)} of {batches} micro-batches within {timeout:g} s")
            time.sleep(0.02)
    finally:
        query.stop()


def results(frame: DataFrame, batches: int, *, mode: str = "append") -> list[list[Row]]:
    """The rows that each of the first micro-batches of a query gives; see `first_batches`."""
    found: dict[int, list[Row]] = {}

    def keep(rows: DataFrame, batch: int) -> None:
        found[batch] = rows.collect()

    first_batches(frame, batches, keep, mode=mode)
    return [found[batch] for batch in range(batches)]
