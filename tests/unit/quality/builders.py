"""Hours of bike stations, right in every way unless a test says otherwise."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from millrace.catalog import load_catalog
from millrace.publish.codec import encode_facts
from millrace.publish.generations import create_generation
from millrace.publish.layout import facts_key
from millrace.publish.version import Version
from millrace.quality.suite import load_suite, suite_file
from millrace.settings import PROJECT_ROOT
from millrace.store import ObjectStore

DATASET = load_catalog(PROJECT_ROOT / "catalog").datasets["hourly_summary"]
HOUR = datetime(2026, 3, 4, 8, tzinfo=UTC)
TIMES = ("window_start", "window_end", "last_observed_at")


def suite():
    return load_suite(suite_file(DATASET.name), DATASET)


def station(number: int = 0, hour: datetime = HOUR, **values: Any) -> dict[str, Any]:
    """One row; ten stations of these make 120 movements."""
    return {
        "system_id": "city",
        "station_id": f"s{number}",
        "window_start": hour,
        "window_end": hour + timedelta(hours=1),
        "total_rental": 6,
        "total_return": 6,
        "observations": 120,
        "gaps": 0,
        "last_observed_at": hour + timedelta(minutes=59),
        "bikes_at_end": 7,
    } | values


def table(*stations: dict[str, Any]) -> pl.DataFrame:
    overrides = {name: pl.Datetime("us", "UTC") for name in TIMES}
    return pl.DataFrame(list(stations), schema_overrides=overrides)


def good(hour: datetime = HOUR, stations: int = 10, **values: Any) -> pl.DataFrame:
    return table(*(station(number, hour, **values) for number in range(stations)))


def begin(store: ObjectStore) -> None:
    """Make generation 1 known, so that facts count."""
    create_generation(store, DATASET.name, parent=None, first_complete_hour=None)


def land(store: ObjectStore, rows: pl.DataFrame, batch: int, hour: datetime = HOUR) -> str:
    """What a driver does with the facts of one micro-batch."""
    version = Version(0, 1, batch)
    body = encode_facts(rows.with_columns(pl.lit(version.packed(), pl.Int64).alias("version")), DATASET)
    key = facts_key(DATASET.name, hour, version, 0, body)
    store.put(key, body)
    return key
