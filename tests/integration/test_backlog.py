"""A backlog through Airflow and Spark, both real, on a real S3 server; compared with sums made while writing."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from millrace.local.airflow_config import airflow_environment
from millrace.local.environment import stack_environment
from millrace.local.java import find_java
from millrace.publish.codec import decode_hour
from millrace.publish.due import due_hours
from millrace.publish.landing import write_facts, write_seals
from millrace.publish.layout import landing_prefix, published_hour, published_key
from millrace.publish.version import Version
from millrace.quality.quarantine import waiting_entries
from millrace.settings import Settings
from millrace.store import S3Store
from tests.unit.quality.builders import DATASET, begin, station, table

pytestmark = pytest.mark.stack
HOURS = 30
FIRST = datetime(2026, 3, 1, tzinfo=UTC)
STATIONS = 20
BATCHES = 3
CORRUPT = FIRST + timedelta(hours=7)
"""Its published object is no Parquet, so it cannot be published."""
IMPLAUSIBLE = FIRST + timedelta(hours=13)
"""5,000 rentals at a station: quarantine."""

Totals = dict[tuple[datetime, str], int]


def land_backlog(store: S3Store, hours: int, seed: int = 11) -> Totals:
    """Facts of many hours in several batches, newer ones correcting older; returns the newest of each key."""
    rng = random.Random(seed)
    newest: Totals = {}
    begin(store)
    every = [FIRST + timedelta(hours=number) for number in range(hours)]
    for batch in range(BATCHES):
        for hour in every:
            some = sorted(rng.sample(range(STATIONS), STATIONS - 5 * batch))
            rentals = {number: rng.randrange(200) for number in some}
            rows = table(*(station(number, hour, total_rental=rentals[number]) for number in some))
            write_facts(store, DATASET, rows, Version(0, 1, batch), 0)
            newest |= {(hour, f"s{number}"): count for number, count in rentals.items()}
    write_seals(store, DATASET, "station_hourly", every, Version(0, 1, BATCHES))
    return newest


def published(store: S3Store) -> Totals:
    found: Totals = {}
    for info in store.list_objects(f"{DATASET.prefix}/"):
        hour = published_hour(DATASET.prefix, info.key)
        if hour == CORRUPT:
            continue
        state = decode_hour(store.get(info.key).body, DATASET, info.key)
        assert state.status == "final", hour
        found |= {(hour, name): n for name, n in state.rows.select("station_id", "total_rental").iter_rows()}
    return found


class Airflow:
    """Airflow's own command, on a database of its own, in the environment that the stack gives its programs."""

    def __init__(self, settings: Settings) -> None:
        assert settings.access_key is not None
        assert settings.secret_key is not None
        keys = {"AWS_ACCESS_KEY_ID": settings.access_key, "AWS_SECRET_ACCESS_KEY": settings.secret_key}
        self.environment = stack_environment(settings, keys, find_java(), os.environ)
        Path(airflow_environment(settings)["AIRFLOW_HOME"]).mkdir(parents=True)

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "airflow", *arguments],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=500,  # 25 s of it is work; the machine may be busy
        )


def test_a_backlog_goes_to_spark_and_every_hour_that_can_be_is_published(
    store: S3Store, store_settings: Settings
) -> None:
    newest = land_backlog(store, HOURS)
    implausible = table(station(1, IMPLAUSIBLE, total_rental=5000))
    write_facts(store, DATASET, implausible, Version(0, 1, BATCHES), 0)
    store.put(published_key(DATASET.prefix, CORRUPT), b"this is not Parquet")
    airflow = Airflow(store_settings)
    made = airflow("db", "migrate")
    assert made.returncode == 0, made.stdout

    done = airflow("dags", "test", "compact_hourly", "--conf", f'{{"spark_above": {HOURS - 1}}}')

    bad = {CORRUPT, IMPLAUSIBLE}
    expected = {key: count for key, count in newest.items() if key[0] not in bad}
    assert published(store) == expected, done.stdout
    assert len(expected) > HOURS * 15
    assert [entry.hour for entry in waiting_entries(store, DATASET)] == [IMPLAUSIBLE]
    assert list(store.list_objects(landing_prefix(DATASET.name, CORRUPT))), "what cannot be published stays"
    assert bad <= set(due_hours(store, DATASET, datetime.now(UTC)))

    log = done.stdout
    assert f"{HOURS} hours in 3 tasks on local[2], 2 at a time" in log
    assert f"{HOURS} of {HOURS} hours (100 %), 2 not published" in log
    assert "2026-03-01T07:00:00Z FAILED: " in log
    assert "2026-03-01T13:00:00Z QUARANTINED: " in log
    assert "2 hour(s) could not be published" in log, "the report names them"
    assert f"{HOURS - 2} hours announced" in log
    assert f"hourly_summary: 1 failed, {HOURS - 2} published, 1 quarantined" in log
    assert str(store_settings.secret_key) not in log
    assert [info.key for info in store.list_objects("backlog/")] == [], (
        "its results are collected and removed"
    )
