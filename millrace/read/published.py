"""Published hours of a span of time, in order, each read whole and with its status."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from millrace.publish.codec import decode_hour, empty_hour
from millrace.publish.expire import read_horizon, refuse_expired
from millrace.publish.hour import VERSION
from millrace.publish.layout import LayoutError, published_hour, published_key, whole_hour
from millrace.read.status import HourStatus, status_in
from millrace.store import NotFound, ObjectStore

if TYPE_CHECKING:
    import polars as pl

    from millrace.catalog import DatasetSpec

AT_ONCE = 24
"""Hours that are read side by side, and so held in memory."""


@dataclass(frozen=True)
class HourRead:
    """One published hour. `rows`: the dataset's columns, without the version; None: left out by `only_final`."""

    status: HourStatus
    rows: pl.DataFrame | None


def read_hours(
    store: ObjectStore, dataset: DatasetSpec, start: datetime, end: datetime, *, only_final: bool = False
) -> pl.DataFrame:
    """The rows of every published hour in [start, end) (aware UTC, whole hours), by hour and key.

    With `only_final`, hours that may still change are left out. Raises as `iter_hours`.
    """
    import polars as pl

    frames = [
        read.rows
        for read in iter_hours(store, dataset, start, end, only_final=only_final)
        if read.rows is not None
    ]
    return pl.concat([empty_hour(dataset).rows.drop(VERSION), *frames])


def iter_hours(
    store: ObjectStore, dataset: DatasetSpec, start: datetime, end: datetime, *, only_final: bool = False
) -> Iterator[HourRead]:
    """The published hours in [start, end) in order of time; memory is bounded by AT_ONCE of them.

    Hours that nobody has published are not there; expired ones have no rows. Raises HourExpired when
    `start` lies before the retention horizon, FormatError for an object that is no hour of this dataset.
    """
    start, end = whole_hour(start), whole_hour(end)
    refuse_expired(read_horizon(store, dataset), dataset, start)
    hours = _published(store, dataset, start, end)
    with ThreadPoolExecutor(max_workers=AT_ONCE // 2) as pool:
        for first in range(0, len(hours), AT_ONCE):
            chunk = hours[first : first + AT_ONCE]
            for read in pool.map(lambda hour: _read(store, dataset, hour, only_final), chunk):
                if read is not None:
                    yield read


def _published(store: ObjectStore, dataset: DatasetSpec, start: datetime, end: datetime) -> list[datetime]:
    """Which hours have an object: one listing that begins at `start`, since keys sort as time does."""
    hours = []
    before_start = published_key(dataset.prefix, start).removesuffix("part-0.parquet")
    for info in store.list_objects(f"{dataset.prefix}/", after=before_start):
        try:
            hour = published_hour(dataset.prefix, info.key)
        except LayoutError:
            continue
        if hour >= end:
            break
        hours.append(hour)
    return hours


def _read(store: ObjectStore, dataset: DatasetSpec, hour: datetime, only_final: bool) -> HourRead | None:
    key = published_key(dataset.prefix, hour)
    try:
        found = store.get(key)
    except NotFound:
        return None  # an empty object behind the horizon, which moved while we listed
    status = status_in(found, key, hour, atomic=store.if_match_is_atomic)
    if only_final and not status.is_final:
        return HourRead(status, None)
    return HourRead(status, decode_hour(found.body, dataset, key).rows.drop(VERSION))
