"""One dataset, one hour, and its facts: the hours of a dataset do not touch each other."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache

import polars as pl

from millrace.catalog import DatasetSpec
from millrace.publish.layout import landing_prefix, published_key

HOUR = datetime(2026, 3, 29, 1, tzinfo=UTC)
DATASET = DatasetSpec(
    name="counts",
    prefix="counts",
    keys=["key"],
    columns={"key": "string", "n": "int64", "window_start": "timestamp"},
    writers=["counter"],
)
LANDING = landing_prefix(DATASET.name)
PUBLISHED = published_key(DATASET.prefix, HOUR)
POISON = 666
"""A value that the audit refuses until it has been mended."""


@cache
def facts(rows: tuple[tuple[str, int], ...]) -> pl.DataFrame:
    """Facts of HOUR as a driver has them, from (key, n)."""
    return pl.DataFrame(
        {"key": [key for key, _ in rows], "n": [n for _, n in rows], "window_start": [HOUR] * len(rows)},
        schema={"key": pl.String, "n": pl.Int64, "window_start": pl.Datetime("us", "UTC")},
    )
