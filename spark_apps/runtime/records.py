"""Records of a micro-batch as a fold takes them: a frame (see keyed_fold.RECORDS), in order."""

from __future__ import annotations

import polars as pl
import pyarrow as pa

IN_KAFKA = ("partition", "offset")
"""By which columns Kafka's records are in order."""


def ordered_records(
    table: pa.Table, order: tuple[str, ...] = IN_KAFKA, first_offset: int | None = None
) -> pl.DataFrame:
    """As `in_order`, from Arrow rows."""
    return in_order(pl.DataFrame(pl.from_arrow(table)), order, first_offset)


def in_order(
    records: pl.DataFrame, order: tuple[str, ...] = IN_KAFKA, first_offset: int | None = None
) -> pl.DataFrame:
    """Records in the given order, with times in epoch milliseconds UTC; columns beyond RECORDS stay.

    `first_offset`: for a source without offsets, the number of the first record; theirs only tell the order.
    """
    records = records.with_columns(pl.col("timestamp").dt.epoch("ms"))
    *before, offset = order
    if any(records[name].n_unique() > 1 for name in before) or not records[offset].is_sorted():
        records = records.sort(order, maintain_order=True)
    if first_offset is not None:
        numbers = pl.int_range(first_offset, first_offset + records.height, dtype=pl.Int64)
        records = records.with_columns(offset=numbers)
    return records
