"""The freshest totals of an hour: what is published joined with what has landed and is not folded yet."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from millrace.publish.codec import decode_hour, empty_hour
from millrace.publish.expire import read_horizon, refuse_expired
from millrace.publish.hour import HourState, join
from millrace.publish.landed import LandingReader
from millrace.publish.layout import published_key, whole_hour
from millrace.publish.side_by_side import SideBySide, in_threads
from millrace.store import NotFound, ObjectStore

if TYPE_CHECKING:
    from millrace.catalog import DatasetSpec


def freshest_hour(
    store: ObjectStore, dataset: DatasetSpec, hour: datetime, *, side_by_side: SideBySide = in_threads
) -> HourState:
    """Everything that was written for an hour before this call, and perhaps more. It has passed no audit.

    Landing is read first and the published hour last: what a fold takes out of landing meanwhile is then in
    the published hour. The other way round a reader misses it. Raises HourExpired and StoreError.
    """
    hour = whole_hour(hour)
    reader = LandingReader(store, dataset, hour, side_by_side, skip_vanished=True)
    landed = reader.read(empty_hour(dataset))
    key = published_key(dataset.prefix, hour)
    try:
        published = decode_hour(store.get(key).body, dataset, key)
    except NotFound:
        published = empty_hour(dataset)
    refuse_expired(read_horizon(store, dataset), dataset, hour)
    if landed is None:
        return published
    return join(published, HourState(rows=landed.rows, replay_floor=landed.replay_floor), dataset.keys)
