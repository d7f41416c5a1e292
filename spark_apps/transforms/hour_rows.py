"""Totals per key and hour that grow: the rows of the open hours, and which of them a micro-batch changed."""

from __future__ import annotations

import polars as pl


def add_to_hours(hours: pl.DataFrame, added: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows after the additions, and those that changed, both in order of hour and keys.

    Both frames have the same columns: keys (text) and `hour` (hours since the epoch, UTC), each combination once, then
    numbers, which are added up.
    """
    key = [name for name, kind in hours.schema.items() if kind == pl.String or name == "hour"]
    order = ["hour", *(name for name in key if name != "hour")]
    sums = [name for name in hours.columns if name not in key]
    before = hours.select(*key, *(pl.col(name).alias(f"{name}_before") for name in sums))
    changed = added.join(before, on=key, how="left").select(
        *key,
        *(
            (pl.col(name) + pl.col(f"{name}_before").fill_null(0)).cast(hours.schema[name]).alias(name)
            for name in sums
        ),
    )
    changed = changed.sort(order)
    return pl.concat([hours.join(changed, on=key, how="anti"), changed]).sort(order), changed
