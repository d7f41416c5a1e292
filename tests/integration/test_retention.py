"""Retention on a real S3 server, which checks If-Match before it writes: what goes, what stays, what stays gone."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from millrace.catalog import Catalog, DatasetRetention, load_catalog
from millrace.publish.due import due_hours
from millrace.publish.expire import HourExpired
from millrace.publish.fold import fold_hour
from millrace.publish.layout import landing_prefix, published_key
from millrace.read.freshest import freshest_totals
from millrace.read.published import read_hours
from millrace.read.status import status_of
from millrace.retention.look import store_time
from millrace.retention.prune import Report, prune
from millrace.settings import PROJECT_ROOT, Settings
from millrace.store import S3Store
from tests.integration.millrace_command import millrace
from tests.integration.published_day import DATASET as PLAIN
from tests.integration.published_day import STATIONS, land, publish

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
NOW_HOUR = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
OLD = [NOW_HOUR - 40 * DAY + number * HOUR for number in range(3)]
YOUNG = [NOW_HOUR - 10 * DAY + number * HOUR for number in range(2)]
DATASET = PLAIN.model_copy(update={"retention": DatasetRetention(published=30 * DAY, expired=5 * DAY)})
CATALOG = load_catalog(PROJECT_ROOT / "catalog").model_copy(update={"datasets": {DATASET.name: DATASET}})


@pytest.fixture
def filled(store: S3Store) -> S3Store:
    publish(store, [*OLD, *YOUNG])
    store.put("control/station_hourly/epochs/00000001.json", b"{}")
    store.put("rejected/station_hourly/date=2026-03-01/a.parquet", b"kept")
    store.put(f"quarantine/{DATASET.name}/2026-03-01T00/reason.json", b"{}")
    store.put(f"quality/{DATASET.name}/2026/03/01/00/run.parquet", b"kept")
    store.put(f"quality/daily/{DATASET.name}/2026-03-01.json", b"{}")
    store.put(f"quality/docs/{DATASET.name}/2026-03-01/index.html", b"<html>")
    store.put(f"approvals/{DATASET.name}/2026-03-01T00/digest.json", b"{}")
    return store


def everything(store: S3Store) -> dict[str, str]:
    return {info.key: info.etag for info in store.list_objects("")}


def run(store: S3Store, *, later: timedelta = timedelta(0), catalog: Catalog = CATALOG) -> Report:
    """A run of retention some time from now."""
    return prune(store, catalog, now=datetime.now(UTC) + later)


def counted(report: Report) -> dict[str, int]:
    assert report.problems == ()
    return {line.what: line.objects for line in report.lines}


def test_a_dry_run_touches_nothing_and_says_what_a_run_then_does(filled: S3Store) -> None:
    before = everything(filled)
    said = prune(filled, CATALOG, dry_run=True)
    assert everything(filled) == before
    done = prune(filled, CATALOG)
    assert (counted(said), said.bytes, said.horizons) == (counted(done), done.bytes, done.horizons)
    assert counted(done) == {"published hours": len(OLD)}
    after = everything(filled)
    changed = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
    assert changed - {f"retention/{DATASET.name}/horizon.json"} == {
        published_key("hourly_summary", at) for at in OLD
    }


def test_a_second_run_does_nothing(filled: S3Store) -> None:
    run(filled)
    before = everything(filled)
    again = run(filled)
    assert (counted(again), again.horizons) == ({}, ())
    assert everything(filled) == before


def test_an_expired_hour_stays_expired_when_facts_land_late_and_young_hours_are_amended(
    filled: S3Store,
) -> None:
    run(filled)
    land(filled, [OLD[0], OLD[0] + 2 * DAY, YOUNG[0]], 7, rentals=100)
    for hour in due_hours(filled, DATASET, datetime.now(UTC)):
        fold_hour(filled, DATASET, hour)
    assert status_of(filled, DATASET, OLD[0]).status == "expired"
    assert freshest_totals(filled, DATASET, OLD[0]).is_empty()
    assert read_hours(filled, DATASET, OLD[0], OLD[-1] + HOUR).is_empty()
    young = read_hours(filled, DATASET, YOUNG[0], YOUNG[0] + HOUR)
    assert young["total_rental"].to_list() == [100 + station for station in range(STATIONS)]
    # An hour that nobody had published is older than the limit too: it came, was seen, and goes.
    assert counted(run(filled)) == {"published hours": 1}


def test_at_last_an_hour_is_behind_the_horizon_and_nothing_brings_it_back(filled: S3Store) -> None:
    run(filled)
    assert counted(run(filled, later=5 * DAY)) == {"landing": 2 * len(OLD)}, "no fold came to take it away"
    horizon = json.loads(filled.get(f"retention/{DATASET.name}/horizon.json").body)["retention_horizon"]
    assert datetime.fromisoformat(horizon) > OLD[-1]
    with pytest.raises(HourExpired):
        status_of(filled, DATASET, OLD[0])
    # The horizon was moved just now, by the clock of the store.
    assert counted(run(filled, later=timedelta(minutes=50))) == {}
    assert counted(run(filled, later=2 * HOUR)) == {"expired hours": len(OLD)}

    land(filled, OLD, 9)
    for hour in OLD:
        assert fold_hour(filled, DATASET, hour).status == "expired"
        assert list(filled.list_objects(landing_prefix(DATASET.name, hour))) == []
    with pytest.raises(HourExpired):
        read_hours(filled, DATASET, OLD[0], YOUNG[-1])
    assert read_hours(filled, DATASET, YOUNG[0], YOUNG[-1] + HOUR).height == STATIONS * len(YOUNG)
    keys = {info.key for info in filled.list_objects(f"{DATASET.prefix}/")}
    assert keys == {published_key("hourly_summary", hour) for hour in YOUNG}


def test_traces_go_at_their_age_and_epochs_never(filled: S3Store) -> None:
    done = counted(run(filled, later=89 * DAY))
    assert not done.keys() & {"quarantine", "rejected"}
    done = counted(run(filled, later=91 * DAY))
    assert (done["quarantine"], done["rejected"]) == (1, 1)
    assert not done.keys() & {"quality", "approvals"}
    done = counted(run(filled, later=401 * DAY))
    assert (done["quality"], done["approvals"]) == (3, 1)
    kept = {info.key.split("/")[0] for info in filled.list_objects("")}
    assert {"control", "generations"} <= kept
    assert not kept & {"quarantine", "rejected", "quality", "approvals"}


def test_the_clock_is_the_stores(filled: S3Store) -> None:
    found = store_time(filled)
    assert found is not None
    assert abs(found - datetime.now(UTC)) < timedelta(minutes=1)


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    """The project's catalog with a limit for published hours."""
    for file in (PROJECT_ROOT / "catalog").glob("*.yaml"):
        text = file.read_text(encoding="utf-8").replace("published: forever", "published: 30d")
        (tmp_path / file.name).write_text(text, encoding="utf-8")
    return tmp_path


def test_the_command_says_what_would_go_and_then_lets_it_go(
    filled: S3Store, store_settings: Settings, catalog: Path
) -> None:
    before = everything(filled)
    said = millrace(store_settings, catalog, "prune", "--dry-run")
    assert (said.returncode, said.stderr) == (0, "")
    heading, line, total, *_ = said.stdout.splitlines()
    assert heading.split()[:4] == ["what", "of", "objects", "bytes"]
    assert line.startswith(f"published hours  {DATASET.name} ")
    assert line.endswith(f"{OLD[0]:%Y-%m-%d %H:%M}  {OLD[-1]:%Y-%m-%d %H:%M}  ended over 30d ago")
    assert total.startswith("3 objects, ")
    assert total.endswith(" would go")
    assert everything(filled) == before
    done = json.loads(millrace(store_settings, catalog, "prune", "--json").stdout)
    assert (done["objects"], done["dry_run"], done["problems"]) == (3, False, [])
    assert status_of(filled, DATASET, OLD[0]).status == "expired"


def test_a_store_that_is_away_is_one_line(store_settings: Settings, catalog: Path) -> None:
    away = Settings(**{**vars(store_settings), "s3_endpoint": "http://127.0.0.1:1"})
    done = millrace(away, catalog, "prune", "--dry-run")
    assert done.returncode == 1
    assert done.stderr.startswith("millrace: LIST ")
    assert len(done.stderr.splitlines()) == 1
