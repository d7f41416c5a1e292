"""Which hours are due: something has landed, and the hour is sealed or ended more than five minutes ago."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from millrace.publish.layout import HOUR, SEAL, LayoutError, landing_hour, landing_prefix
from millrace.store import ObjectStore

if TYPE_CHECKING:
    from millrace.catalog import DatasetSpec

log = logging.getLogger(__name__)

PROVISIONAL_AFTER = timedelta(minutes=5)
"""How long after its end an unsealed hour waits for stragglers before it is published as provisional."""


def due_hours(store: ObjectStore, dataset: DatasetSpec, now: datetime) -> list[datetime]:
    """The due hours (aware UTC, ascending) from one listing of the dataset's landing area."""
    landed: set[datetime] = set()
    sealed: set[datetime] = set()
    for info in store.list_objects(landing_prefix(dataset.name)):
        try:
            hour = landing_hour(info.key)
        except LayoutError:
            log.warning("%s lies in no hour's landing area and is never read; move it away", info.key)
            continue
        landed.add(hour)  # also what is no landing object: the fold sets it aside
        if info.key.endswith(SEAL):
            sealed.add(hour)
    return sorted(hour for hour in landed if hour in sealed or now >= hour + HOUR + PROVISIONAL_AFTER)
