"""Writing to landing: facts, one object per hour, and seals. Every name repeats on a retry."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from millrace.publish.codec import encode_facts
from millrace.publish.hour import VERSION
from millrace.publish.layout import facts_key, seal_key
from millrace.publish.side_by_side import SideBySide, in_threads
from millrace.publish.version import Version
from millrace.store import ObjectStore, PreconditionFailed

if TYPE_CHECKING:
    import polars as pl

    from millrace.catalog import DatasetSpec


class SealConflict(Exception):
    """A seal of this name says something else: somebody else writes under this generation."""


def write_facts(
    store: ObjectStore,
    dataset: DatasetSpec,
    facts: pl.DataFrame,
    version: Version,
    part: int,
    *,
    side_by_side: SideBySide = in_threads,
) -> list[datetime]:
    """PUT facts (the dataset's columns, `window_start` their UTC hour); return the hours written to."""
    objects = landing_objects(dataset, facts, version, part)
    side_by_side(lambda hour: store.put(*objects[hour]), sorted(objects))
    return sorted(objects)


def landing_objects(
    dataset: DatasetSpec, facts: pl.DataFrame, version: Version, part: int
) -> dict[datetime, tuple[str, bytes]]:
    """By hour (aware UTC), the key and the body of the object that facts become."""
    import polars as pl

    stamped = facts.with_columns(pl.lit(version.packed(), dtype=pl.Int64).alias(VERSION))
    objects = {}
    for (start,), rows in stamped.partition_by("window_start", as_dict=True).items():
        hour = start.astimezone(UTC)
        body = encode_facts(rows.sort(dataset.keys), dataset)
        objects[hour] = facts_key(dataset.name, hour, version, part, body), body
    return objects


def write_replay(
    store: ObjectStore, dataset: DatasetSpec, facts: pl.DataFrame, hour: datetime, version: Version
) -> None:
    """PUT the recomputation of one whole hour: *one* object with its complete set, also when it has no rows.

    It raises the hour's replay floor to `version.replay`, so that what the stream wrote no longer counts;
    several objects would be half visible between two folds. Raises ValueError for replay 0 or other hours.
    """
    import polars as pl

    if version.replay < 1:
        raise ValueError("a replay is numbered from 1: 0 is the stream, whose facts it replaces")
    if not facts.is_empty() and facts["window_start"].unique().to_list() != [hour]:
        raise ValueError(f"a replay of {hour.isoformat()} holds facts of other hours")
    stamped = facts.with_columns(pl.lit(version.packed(), dtype=pl.Int64).alias(VERSION)).sort(dataset.keys)
    body = encode_facts(stamped, dataset)
    store.put(facts_key(dataset.name, hour, version, 0, body), body)


def write_seals(
    store: ObjectStore,
    dataset: DatasetSpec,
    writer: str,
    hours: Sequence[datetime],
    version: Version,
    *,
    side_by_side: SideBySide = in_threads,
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

    side_by_side(put, hours)
