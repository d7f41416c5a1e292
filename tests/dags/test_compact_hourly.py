"""The compaction DAG, run whole by Airflow in this process: real facts, real database, a store in memory."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime, timedelta

import pytest

from millrace.catalog import load_catalog
from millrace.publish.codec import encode_facts
from millrace.publish.generations import create_generation
from millrace.publish.layout import facts_key, landing_prefix, published_key
from millrace.publish.version import Version
from millrace.quality import suite
from millrace.quality.quarantine import waiting_entries
from millrace.settings import PROJECT_ROOT
from millrace.store import MemoryStore
from tests.dags.conftest import DAGS

DATASET = load_catalog(PROJECT_ROOT / "catalog").datasets["hourly_summary"]
NOW_HOUR = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)


def hour(number: int) -> datetime:
    """The `number`-th last hour that has ended for long enough to be due."""
    return NOW_HOUR - timedelta(hours=number + 1)


def land(store: MemoryStore, at: datetime, rentals: int = 1, batch: int = 1) -> str:
    import polars as pl

    rows = pl.DataFrame(
        {
            "system_id": ["city"],
            "station_id": ["s1"],
            "window_start": [at],
            "window_end": [at + timedelta(hours=1)],
            "total_rental": [rentals],
            "total_return": [0],
            "observations": [2],
            "gaps": [0],
            "last_observed_at": [at],
            "bikes_at_end": [3],
            "version": [Version(0, 1, batch).packed()],
        }
    ).with_columns(pl.col(pl.Datetime).dt.cast_time_unit("us"))
    body = encode_facts(rows, DATASET)
    key = facts_key(DATASET.name, at, Version(0, 1, batch), 0, body)
    store.put(key, body)
    return key


@pytest.fixture
def store(monkeypatch):
    from millrace_airflow import access

    made = MemoryStore()
    create_generation(made, DATASET.name, parent=None, first_complete_hour=None)
    monkeypatch.setattr(access, "store_of", lambda settings: made)
    return made


_runs = itertools.count()


@pytest.fixture
def run(airflow_db, store):
    """Runs the DAG with a form's values; what it leaves behind is read from Airflow's database."""
    from airflow.dag_processing.dagbag import DagBag

    # Read anew: a test run leaves its form's values behind in the DAG.
    dag = DagBag(dag_folder=str(DAGS / "compact_hourly.py")).dags["compact_hourly"]

    def run(**form):
        return Run(
            dag.test(
                logical_date=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=next(_runs)),
                run_conf=form or None,
            )
        )

    return run


class Run:
    def __init__(self, dag_run) -> None:
        from airflow.models.asset import AssetEvent, AssetModel
        from airflow.models.taskinstance import TaskInstance
        from airflow.utils.session import create_session

        self.state = str(dag_run.state)
        with create_session() as session:
            instances = session.query(TaskInstance).filter_by(run_id=dag_run.run_id).all()
            self.tasks = {(one.task_id, one.map_index): str(one.state) for one in instances}
            self.weights = {one.task_id: one.priority_weight for one in instances}
            self.names = [one.rendered_map_index for one in instances if one.rendered_map_index]
            events = (
                session.query(AssetEvent, AssetModel)
                .join(AssetModel, AssetModel.id == AssetEvent.asset_id)
                .filter(AssetEvent.source_run_id == dag_run.run_id)
            )
            self.events = sorted(
                (asset.name, json.dumps(event.extra, sort_keys=True)) for event, asset in events
            )
            self.uris = {asset.uri for _, asset in events}
            self.report = next(one.xcom_pull("report") for one in instances if one.task_id == "report")

    def extras(self) -> list[dict]:
        return [json.loads(extra) for _, extra in self.events]


def iso(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


def test_every_due_hour_is_published_and_announced_by_an_event_of_its_own(run, store, monkeypatch):
    monkeypatch.setattr("millrace_airflow.compaction.CHUNK", 6)
    hours = [hour(number) for number in range(1, 9)]
    for at in hours:
        land(store, at)
    done = run()
    assert done.state == "success"
    for at in hours:
        assert store.get(published_key(DATASET.prefix, at))
    assert done.weights["compact"] > done.weights["fold_backlog"], (
        "no hour waits for the word that there is no backlog"
    )
    assert {name for name, _ in done.events} == {"hourly_summary"}
    assert done.uris == {"s3://millrace/hourly_summary"}
    assert sorted(extra["hour"] for extra in done.extras()) == sorted(iso(at) for at in hours)
    assert {(extra["rev"], extra["rows"], extra["status"]) for extra in done.extras()} == {
        (1, 1, "provisional")
    }
    assert sorted(done.names) == sorted(
        [
            f"hourly_summary {hours[7]:%Y-%m-%d %H}h to {hours[2]:%Y-%m-%d %H}h (6 hours)",
            f"hourly_summary {hours[1]:%Y-%m-%d %H}h to {hours[0]:%Y-%m-%d %H}h (2 hours)",
        ]
    )


def test_nothing_due_is_a_success_that_says_so(run):
    done = run()
    assert done.state == "success"
    assert done.events == []
    assert done.tasks["report", -1] == "success"


def test_an_hour_that_fails_does_not_hold_the_others_and_the_run_is_red(run, store):
    good, bad = hour(1), hour(2)
    land(store, good)
    land(store, bad)
    store.put(published_key(DATASET.prefix, bad), b"this is not Parquet")
    done = run()
    assert done.state == "failed"
    assert (done.tasks["compact", 0], done.tasks["announce", -1], done.tasks["report", -1]) == (
        "failed",
        "success",
        "failed",
    )
    assert [extra["hour"] for extra in done.extras()] == [iso(good)]
    assert list(store.list_objects(landing_prefix(DATASET.name, bad))), "what could not be published stays"


def test_a_single_hour_from_the_form_is_published_alone(run, store):
    wanted, other = hour(3), hour(4)
    land(store, wanted)
    land(store, other)
    done = run(hour=iso(wanted), dataset="hourly_summary")
    assert done.state == "success"
    assert [extra["hour"] for extra in done.extras()] == [iso(wanted)]
    assert done.names == [f"hourly_summary {wanted:%Y-%m-%d %H}h"]


def test_an_hour_that_is_none_is_refused(run, store):
    done = run(hour="2026-01-01T10:30:00Z")
    assert done.state == "failed"
    assert done.tasks["plan", -1] == "failed"
    assert done.tasks["report", -1] == "failed"


def test_a_dataset_that_is_not_in_the_catalog_cannot_be_asked_for(run):
    from airflow.sdk.exceptions import ParamValidationError

    with pytest.raises((ParamValidationError, ValueError), match="unknown_dataset"):
        run(dataset="unknown_dataset")


def test_unchanged_hours_are_not_announced_again(run, store):
    at = hour(1)
    land(store, at)
    assert len(run().events) == 1
    assert run(hour=iso(at)).events == []
    land(store, at, rentals=5, batch=2)
    assert [(extra["rev"], extra["rows"]) for extra in run().extras()] == [(2, 1)]


def test_an_hour_that_fails_its_audit_is_red_and_says_which_rows_and_what_to_do(run, store):
    good, bad = hour(1), hour(2)
    land(store, good)
    land(store, bad, rentals=5000)
    done = run()
    assert done.state == "failed"
    assert [extra["hour"] for extra in done.extras()] == [iso(good)]
    assert (done.tasks["compact", 0], done.tasks["report", -1]) == ("failed", "failed")
    assert list(store.list_objects(landing_prefix(DATASET.name, bad))), (
        "what is in quarantine stays in landing"
    )
    (entry,) = waiting_entries(store, DATASET)
    assert "station_id=s1, total_rental=5000" in entry.reason


def test_what_was_set_aside_is_in_the_sum_of_the_run(run, store):
    at = hour(1)
    land(store, at)
    for name in ("notes.txt", "more.txt"):
        store.put(landing_prefix(DATASET.name, at) + name, b"remember the milk")
    land(store, hour(2))
    done = run()
    assert done.state == "success"
    assert done.report == "hourly_summary: 2 published, 2 objects set aside"


def test_a_spark_that_does_not_start_costs_a_red_run_and_no_hour(run, store, monkeypatch):
    from airflow.providers.apache.spark.hooks.spark_submit import SparkSubmitHook

    submitted = []

    def submit(hook, application):
        submitted.append(hook._build_spark_submit_command(application))
        raise FileNotFoundError("spark-submit")

    monkeypatch.setattr(SparkSubmitHook, "submit", submit)
    monkeypatch.setenv("AIRFLOW_CONN_SPARK_DEFAULT", '{"conn_type": "spark", "host": "local[2]"}')
    monkeypatch.setattr("spark_apps.runtime.session.jar_paths", lambda group: [])
    hours = [hour(number) for number in range(1, 4)]
    landed = [land(store, at) for at in hours]
    done = run(spark_above=2)
    assert done.state == "failed"
    assert {name: state for (name, _), state in done.tasks.items()} == {
        "plan": "success",
        "compact": "skipped",
        "fold_backlog": "failed",
        "collect": "success",
        "announce": "success",
        "report": "failed",
    }
    (command,) = submitted
    assert command[:3] == ["spark-submit", "--master", "local[2]"]
    assert set(landed) <= set(store.objects)
    assert [key for key in store.objects if key.startswith("backlog/")] == []
    assert run(spark_above=3).tasks["fold_backlog", -1] == "skipped"
    assert [key for key in store.objects if key.startswith("hourly_summary/")] != []


def test_without_its_suite_nothing_is_published(run, store, monkeypatch, tmp_path):
    monkeypatch.setattr(suite, "EXPECTATIONS_DIR", tmp_path)
    land(store, hour(1))
    done = run()
    assert done.tasks["compact", 0] == "failed"
    assert done.events == []
