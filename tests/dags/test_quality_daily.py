"""The daily summary, run by Airflow in this process."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime, timedelta

import pytest

from millrace.publish.compact import compact_hours
from millrace.publish.layout import seal_key
from millrace.publish.version import Version
from millrace.quality.day import read_summary
from tests.dags.conftest import DAGS
from tests.unit.quality.builders import DATASET, good, land

YESTERDAY = datetime.now(UTC).date() - timedelta(days=1)
_runs = itertools.count()


@pytest.fixture
def run(airflow_db):
    from airflow.dag_processing.dagbag import DagBag

    dag = DagBag(dag_folder=str(DAGS / "quality_daily.py")).dags["quality_daily"]
    dag.get_task("summarise").retries = 0

    def run(**form) -> str:
        date = datetime(2024, 6, 1, 0, next(_runs), tzinfo=UTC)
        return str(dag.test(logical_date=date, run_conf=form or None).state)

    return run


def publish(store, hour: int) -> None:
    at = datetime(YESTERDAY.year, YESTERDAY.month, YESTERDAY.day, hour, tzinfo=UTC)
    land(store, good(at), 1, at)
    store.put(seal_key(DATASET.name, at, Version(0, 1, 2)), b'{"writer": "station_hourly"}')
    compact_hours(store, DATASET, [at])


def test_a_whole_day_is_green_and_its_summary_is_kept(run, store):
    for hour in range(12, 24):
        publish(store, hour)
    assert run() == "success"
    kept = read_summary(store, DATASET.name, YESTERDAY)
    assert kept.hours == {"final": 12}


def test_data_docs_are_built_into_the_store_on_request_only(run, store):
    publish(store, 23)
    assert run() == "success"
    prefix = f"quality/docs/{DATASET.name}/{YESTERDAY}/"
    assert list(store.list_objects(prefix)) == []
    assert run(data_docs=True) == "success"
    assert [info.key for info in store.list_objects(prefix)] == [f"{prefix}23.html", f"{prefix}index.html"]
    page = store.get(f"{prefix}23.html").body.decode()
    for words in ("total_rental", "last_observed_at", "still_there", "cdn"):
        assert words in page
    assert '<a href="23.html">' in store.get(f"{prefix}index.html").body.decode()


def test_a_day_with_a_missing_hour_is_red_and_its_summary_is_kept_all_the_same(run, store):
    publish(store, 20)
    publish(store, 22)
    assert run(day=YESTERDAY.isoformat()) == "failed"
    assert read_summary(store, DATASET.name, YESTERDAY).outcome == "failed"


def test_a_day_that_has_not_ended_is_refused():
    from airflow.sdk.exceptions import AirflowFailException
    from millrace_airflow.daily_tasks import day_of

    now = datetime(2026, 3, 5, 2, 30, tzinfo=UTC)
    assert day_of(None, now) == date(2026, 3, 4)
    assert day_of("2026-02-01", now) == date(2026, 2, 1)
    for text, words in (
        ("2026-03-05", "has not ended"),
        ("soon", "is not a date: write one such as 2026-03-04"),
    ):
        with pytest.raises(AirflowFailException, match=words):
            day_of(text, now)
