"""Published hours of one day with known totals, written and folded as a stream and its compaction would."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl

from millrace.catalog import DatasetSpec, load_catalog
from millrace.publish.fold import fold_hour
from millrace.publish.generations import create_generation, known_generations
from millrace.publish.landing import write_facts, write_seals
from millrace.publish.version import Version
from millrace.settings import PROJECT_ROOT
from millrace.store import ObjectStore

DATASET: DatasetSpec = load_catalog(PROJECT_ROOT / "catalog").datasets["hourly_summary"]
DAY = datetime(2026, 3, 1, tzinfo=UTC)
HOURS = [DAY + timedelta(hours=number) for number in range(12, 18)]
STATIONS = 5


def facts(hours: list[datetime], *, rentals: int = 1, stations: int = STATIONS) -> pl.DataFrame:
    """One row per station and hour; station n of an hour has `rentals` + n rentals."""
    rows = [
        {
            "system_id": "city",
            "station_id": f"s{station}",
            "window_start": hour,
            "window_end": hour + timedelta(hours=1),
            "total_rental": rentals + station,
            "total_return": 0,
            "observations": 2,
            "gaps": 0,
            "last_observed_at": hour,
            "bikes_at_end": 3,
        }
        for hour in hours
        for station in range(stations)
    ]
    return pl.DataFrame(rows).with_columns(pl.col(pl.Datetime).dt.cast_time_unit("us"))


def land(
    store: ObjectStore, hours: list[datetime], batch: int, *, rentals: int = 1, seal: bool = True
) -> None:
    """What a micro-batch leaves in landing."""
    if not known_generations(store, DATASET.name):
        create_generation(store, DATASET.name, parent=None, first_complete_hour=None)
    version = Version(0, 1, batch)
    write_facts(store, DATASET, facts(hours, rentals=rentals), version, 0)
    if seal:
        write_seals(store, DATASET, "station_hourly", hours, version)


def publish(
    store: ObjectStore, hours: list[datetime], batch: int = 1, *, rentals: int = 1, seal: bool = True
) -> None:
    land(store, hours, batch, rentals=rentals, seal=seal)
    for hour in hours:
        fold_hour(store, DATASET, hour)


RENTALS_OF_AN_HOUR = sum(1 + station for station in range(STATIONS))
