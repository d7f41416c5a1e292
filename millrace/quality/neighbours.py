"""The published hours that an hour is compared with: the one before, and the same hour of earlier weeks."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from millrace.publish.codec import FormatError, decode_hour
from millrace.publish.hour import VERSION
from millrace.publish.layout import HOUR, published_key
from millrace.store import NotFound, ObjectStore

if TYPE_CHECKING:
    import polars as pl

    from millrace.catalog import DatasetSpec

WEEKS = 4


def published_rows(store: ObjectStore, dataset: DatasetSpec, hour: datetime) -> pl.DataFrame | None:
    """The rows of a published hour without `version`; None when there is none, or it expired."""
    key = published_key(dataset.prefix, hour)
    try:
        state = decode_hour(store.get(key).body, dataset, key)
    except (NotFound, FormatError):  # a neighbour that cannot be read is no reason to refuse this hour
        return None
    return None if state.expired else state.rows.drop(VERSION)


def neighbours(
    store: ObjectStore, dataset: DatasetSpec, hour: datetime
) -> tuple[pl.DataFrame | None, tuple[pl.DataFrame, ...]]:
    """The hour before, and those of the four weeks before that are published."""
    wanted = [hour - HOUR, *(hour - timedelta(weeks=week) for week in range(1, WEEKS + 1))]
    with ThreadPoolExecutor(max_workers=len(wanted)) as pool:
        before, *weeks = pool.map(lambda one: published_rows(store, dataset, one), wanted)
    return before, tuple(week for week in weeks if week is not None)
