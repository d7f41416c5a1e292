"""What an hour says, as one digest that stays the same whatever library or version has written the bytes.

An approval names it, so it must not change with an upgrade of Parquet's or Arrow's writer. The canonical form:

    millrace content 1 LF, the replay floor LF
    per column, in the order of the catalog and `version` last:  name SPACE type SPACE rows LF, then the values
    integers, timestamps (microseconds since 1970 UTC): 8 bytes, signed, least significant first
    decimals: their millionths as an integer of 16 bytes, signed, least significant first
    doubles: IEEE 754, 8 bytes, least significant first, every NaN the same one
    booleans: a byte, 0 or 1
    strings: the length of each in bytes as integers, then all of them in UTF-8, one after the other

Rows are in the order of their keys.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from millrace.publish.hour import VERSION, HourState

if TYPE_CHECKING:
    import polars as pl

    from millrace.catalog import DatasetSpec

FORMAT = 1


def content_digest(state: HourState, dataset: DatasetSpec) -> str:
    """sha256 (hex) of what a reader would see: rows and floor, whatever the marks."""
    digest = hashlib.sha256(f"millrace content {FORMAT}\n{state.replay_floor}\n".encode())
    rows = state.rows.sort(dataset.keys)
    for name, kind in {**dataset.columns, VERSION: "int64"}.items():
        digest.update(f"{name} {kind} {rows.height}\n".encode())
        for part in _values(rows[name], kind):
            digest.update(part)
    return digest.hexdigest()


def _values(column: pl.Series, kind: str) -> list[bytes]:
    import numpy as np
    import polars as pl

    if kind == "string":
        lengths = column.str.len_bytes().cast(pl.Int64)
        return [_integers(lengths), "".join(column.to_list()).encode()]
    if kind == "double":
        values = column.to_numpy().astype("<f8")
        return [np.where(np.isnan(values), np.nan, values).astype("<f8").tobytes()]
    if kind == "decimal":
        return [_decimals(column)]
    if kind == "boolean":
        return [column.to_numpy().astype("u1").tobytes()]
    return [_integers(column.dt.epoch("us") if kind == "timestamp" else column)]


def _decimals(column: pl.Series) -> bytes:
    """Arrow keeps them in memory in this very form; its layout is a standard that does not change."""
    import pyarrow as pa

    array = column.rechunk().to_arrow().cast(pa.decimal128(38, 6))
    return bytes(array.buffers()[1][16 * array.offset : 16 * (array.offset + len(array))])


def _integers(column: pl.Series) -> bytes:
    return bytes(column.to_numpy().astype("<i8").tobytes())
