"""A small dataset and the shortest ways to write facts and seals of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import polars as pl

from millrace.catalog import DatasetSpec
from millrace.publish.codec import decode_hour, encode_facts
from millrace.publish.generations import create_generation
from millrace.publish.hour import HourState
from millrace.publish.layout import facts_key, published_key, seal_key
from millrace.publish.version import Version
from millrace.store import MemoryStore

HOUR = datetime(2026, 3, 29, 1, tzinfo=UTC)
DATASET = DatasetSpec(
    name="counts", prefix="counts", keys=["key"], columns={"key": "string", "n": "int64"}, writers=["counter"]
)


def rows(*facts: tuple[str, int, Version | int]) -> pl.DataFrame:
    packed = [(key, n, v.packed() if isinstance(v, Version) else v) for key, n, v in facts]
    return pl.DataFrame(packed, schema={"key": pl.String, "n": pl.Int64, "version": pl.Int64}, orient="row")


def new_store(*, atomic: bool = True, generations: int = 1) -> MemoryStore:
    store = MemoryStore(atomic=atomic)
    for parent in range(generations):
        create_generation(store, DATASET.name, parent=parent or None, first_complete_hour=None)
    return store


def land(
    store: MemoryStore, version: Version, facts: dict[str, int], *, part: int = 0, hour: datetime = HOUR
) -> str:
    body = encode_facts(rows(*((key, n, version) for key, n in sorted(facts.items()))), DATASET)
    key = facts_key(DATASET.name, hour, version, part, body)
    store.put(key, body)
    return key


def seal(store: MemoryStore, version: Version, hour: datetime = HOUR) -> str:
    key = seal_key(DATASET.name, hour, version)
    store.put(key, json.dumps({"writer": "counter"}).encode())
    return key


def published(store: MemoryStore, hour: datetime = HOUR) -> HourState:
    key = published_key(DATASET.prefix, hour)
    return decode_hour(store.get(key).body, DATASET, key)


def totals(state: HourState) -> dict[str, int]:
    return dict(state.rows.select("key", "n").iter_rows())


def landing(store: MemoryStore) -> list[str]:
    return [info.key for info in store.list_objects("landing/")]
