"""Records of a micro-batch as a fold takes them: a frame (see keyed_fold.RECORDS), in order."""

from __future__ import annotations

import polars as pl
import pyarrow as pa


def ordered_records(table: pa.Table, first_offset: int | None) -> pl.DataFrame:
    """Arrow rows, in order of partition and offset, with times in epoch milliseconds UTC; other columns stay.

    `first_offset`: for a source without offsets, the number of the first record; theirs only tell the order.
    """
    records = pl.DataFrame(pl.from_arrow(table)).with_columns(pl.col("timestamp").dt.epoch("ms"))
    if records["partition"].n_unique() > 1 or not records["offset"].is_sorted():
        records = records.sort("partition", "offset", maintain_order=True)
    if first_offset is not None:
        numbers = pl.int_range(first_offset, first_offset + records.height, dtype=pl.Int64)
        records = records.with_columns(offset=numbers)
    return records
