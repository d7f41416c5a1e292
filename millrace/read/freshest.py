"""The freshest totals of an hour as rows: see `millrace.publish.freshest`, which knows the order of reading."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from millrace.publish.freshest import freshest_hour
from millrace.store import ObjectStore

if TYPE_CHECKING:
    import polars as pl

    from millrace.catalog import DatasetSpec


def freshest_totals(store: ObjectStore, dataset: DatasetSpec, hour: datetime) -> pl.DataFrame:
    """The dataset's columns and `version`, newest row per key, of one hour (aware UTC, whole).

    What landed has not passed the audit: show it as *live*, never act on it. Raises HourExpired before the
    retention horizon; an expired hour has no rows.
    """
    return freshest_hour(store, dataset, hour).rows
