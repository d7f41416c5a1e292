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
    sums = [pl.col(name).sum().cast(kind) for name, kind in hours.schema.items() if name not in key]
    known = hours.join(added, on=key, how="semi")
    changed = pl.concat([known, added]).group_by(key).agg(sums).select(hours.columns).sort(order)
    return pl.concat([hours.join(added, on=key, how="anti"), changed]).sort(order), changed
