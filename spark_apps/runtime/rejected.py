"""Records that a stream could not use, kept whole and with the reason: nothing is lost, nothing stops.

Layout: `rejected/<stream>/date=YYYY-MM-DD/<generation>-<batch>-<bucket>-<hash>.parquet`, the date being
that of the first such record's arrival (UTC). Columns: topic, partition, offset, timestamp (us UTC),
key, value (both as they came), reason, detail.
"""

from __future__ import annotations

import hashlib
import io
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import polars as pl

from millrace.store import ObjectStore

if TYPE_CHECKING:
    from spark_apps.runtime.micro_batch import BatchTask


def write_rejected(
    store: ObjectStore, task: BatchTask, bucket: int, records: pl.DataFrame, rejected: pl.DataFrame
) -> None:
    """PUT the rejected records of one bucket, when there are any. `rejected`: row, reason, detail."""
    if rejected.is_empty():
        return
    rows = records[rejected["row"]].select(
        pl.lit(task.topic).alias("topic"),
        "partition",
        "offset",
        (pl.col("timestamp") * 1000).cast(pl.Datetime("us", "UTC")),
        "key",
        "value",
    )
    rows = rows.with_columns(rejected["reason"], rejected["detail"])
    body = io.BytesIO()
    rows.write_parquet(body, compression="zstd")
    arrived = records["timestamp"][int(rejected["row"][0])]
    day = datetime.fromtimestamp(arrived / 1000, tz=UTC)
    digest = hashlib.sha256(body.getvalue()).hexdigest()[:16]
    name = f"{task.generation:05d}-{task.batch:010d}-{bucket:05d}-{digest}.parquet"
    store.put(f"rejected/{task.stream}/date={day:%Y-%m-%d}/{name}", body.getvalue())
