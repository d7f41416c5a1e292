"""Writing to landing: facts, one object per hour, and seals. Every name repeats on a retry."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from millrace.publish.codec import encode_facts
from millrace.publish.hour import VERSION
from millrace.publish.layout import facts_key, seal_key
from millrace.publish.version import Version
from millrace.store import ObjectStore, PreconditionFailed

if TYPE_CHECKING:
    import polars as pl

    from millrace.catalog import DatasetSpec

WRITERS = 8
"""A batch that catches up touches a hundred hours; one PUT after the other cost 118 ms a task."""


class SealConflict(Exception):
    """A seal of this name says something else: somebody else writes under this generation."""


def write_facts(
    store: ObjectStore, dataset: DatasetSpec, facts: pl.DataFrame, version: Version, part: int
) -> list[datetime]:
    """PUT facts (the dataset's columns, `window_start` their UTC hour); return the hours written to."""
    import polars as pl

    if facts.is_empty():
        return []
    stamped = facts.with_columns(pl.lit(version.packed(), dtype=pl.Int64).alias(VERSION))
    by_hour = {
        hour.astimezone(UTC): rows.sort(dataset.keys)
        for (hour,), rows in stamped.partition_by("window_start", as_dict=True).items()
    }

    def put(hour: datetime) -> None:
        body = encode_facts(by_hour[hour], dataset)
        store.put(facts_key(dataset.name, hour, version, part, body), body)

    hours = sorted(by_hour)
    with ThreadPoolExecutor(max_workers=min(WRITERS, len(hours))) as pool:
        list(pool.map(put, hours))
    return hours


def write_seals(
    store: ObjectStore, dataset: DatasetSpec, writer: str, hours: Sequence[datetime], version: Version
) -> None:
    """Say that every fact of these hours up to `version` is in landing. Raises SealConflict."""
    body = json.dumps({"writer": writer}).encode()

    def put(hour: datetime) -> None:
        key = seal_key(dataset.name, hour, version)
        try:
            store.put(key, body, if_absent=True)
        except PreconditionFailed:
            if store.get(key).body != body:
                raise SealConflict(f"{key} exists and names another writer than {writer}") from None

    if hours:
        with ThreadPoolExecutor(max_workers=WRITERS) as pool:
            list(pool.map(put, hours))
