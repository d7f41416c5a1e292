"""Which hours are due: something has landed, and the hour is sealed or ended more than five minutes ago."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from millrace.publish.layout import HOUR, LayoutError, landing_prefix, parse_landing_key
from millrace.store import ObjectStore

if TYPE_CHECKING:
    from millrace.catalog import DatasetSpec

PROVISIONAL_AFTER = timedelta(minutes=5)
"""How long after its end an unsealed hour waits for stragglers before it is published as provisional."""


def due_hours(store: ObjectStore, dataset: DatasetSpec, now: datetime) -> list[datetime]:
    """The due hours (aware UTC, ascending) from one listing of the dataset's landing area."""
    landed: set[datetime] = set()
    sealed: set[datetime] = set()
    for info in store.list_objects(landing_prefix(dataset.name)):
        try:
            name = parse_landing_key(info.key)
        except LayoutError:
            continue
        landed.add(name.hour)
        if name.is_seal:
            sealed.add(name.hour)
    return sorted(hour for hour in landed if hour in sealed or now >= hour + HOUR + PROVISIONAL_AFTER)
