"""The maintenance DAG, run by Airflow in this process, and the real `airflow db clean` on a real database."""

from __future__ import annotations

import itertools
import os
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from millrace import settings
from millrace.catalog import load_catalog
from millrace.retention import airflow_database
from millrace.settings import PROJECT_ROOT
from millrace.store import MemoryStore, StoreUnavailable
from tests.dags.conftest import DAGS

OLD, YOUNG = "quarantine/hourly_summary/old", "quarantine/hourly_summary/young"
_runs = itertools.count()


class Store(MemoryStore):
    refuses = False

    def delete(self, key: str) -> None:
        if self.refuses:
            raise StoreUnavailable("DELETE: no answer")
        super().delete(key)


@pytest.fixture
def store(monkeypatch):
    from millrace_airflow import access

    made = Store()
    made.put(OLD, b"0123456789")
    made.now += load_catalog(PROJECT_ROOT / "catalog").datasets["hourly_summary"].retention.quarantine
    made.now += timedelta(hours=1)
    made.put(YOUNG, b"0123456789")
    monkeypatch.setattr(access, "store_of", lambda settings: made)
    return made


@pytest.fixture
def run(airflow_db, store):
    """Runs the DAG with a form's values; task states and the report, read from Airflow's database."""
    from airflow.dag_processing.dagbag import DagBag
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session

    dag = DagBag(dag_folder=str(DAGS / "maintenance.py")).dags["maintenance"]

    def run(**form):
        when = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=next(_runs))
        done = dag.test(logical_date=when, run_conf=form or None)
        with create_session() as session:
            instances = session.query(TaskInstance).filter_by(run_id=done.run_id).all()
            states = {one.task_id: str(one.state) for one in instances}
            found = session.query(XComModel).filter_by(run_id=done.run_id, key="report").all()
            return states, [XComModel.deserialize_value(one) for one in found]

    return run


def test_what_is_too_old_goes_and_the_report_says_what(run, store):
    states, (report,) = run()
    assert states["prune"] == "success"
    assert set(store.objects) == {YOUNG}
    (line,) = report["removed"]
    assert (line["what"], line["owner"], line["objects"], line["bytes"]) == (
        "quarantine",
        "hourly_summary",
        1,
        10,
    )
    assert (report["objects"], report["problems"], report["dry_run"]) == (1, [], False)


def test_a_dry_run_from_the_form_touches_nothing(run, store):
    before = dict(store.objects)
    states, (report,) = run(dry_run=True)
    assert states == {"prune": "success", "clean_airflow": "skipped"}
    assert store.objects == before
    assert (report["objects"], report["dry_run"]) == (1, True)


def test_what_could_not_be_removed_makes_the_task_red_and_is_in_its_report(run, store):
    store.refuses = True
    states, (report,) = run()
    assert states["prune"] == "failed"
    (problem,) = report["problems"]
    assert "no answer; the next run tries again" in problem


def test_a_database_that_is_elsewhere_is_left_to_its_owner(run, capsys):
    states, _ = run()
    assert states["clean_airflow"] == "skipped"
    assert "airflow db clean --clean-before-timestamp 20" in capsys.readouterr().out


@pytest.fixture
def own_stack(airflow_db, tmp_path: Path):
    """Settings of a stack whose database holds one log entry of long ago and one of now."""
    here = settings.load({"MILLRACE_HOME": str(tmp_path)})
    database = tmp_path / "airflow" / "airflow.db"
    database.parent.mkdir()
    with (
        sqlite3.connect(Path(os.environ["AIRFLOW_HOME"]) / "airflow.db") as migrated,
        sqlite3.connect(database) as connection,
    ):
        migrated.backup(connection)
        connection.execute("DELETE FROM log")
        for event, when in (
            ("old", "2020-01-01 00:00:00"),
            ("new", f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}"),
        ):
            connection.execute("INSERT INTO log (event, dttm) VALUES (?, ?)", (event, when))
    return here


def events(here) -> list[str]:
    path = airflow_database.own_database(here)
    with sqlite3.connect(path) as connection:
        rows = connection.execute("SELECT event FROM log WHERE event IN ('old', 'new')").fetchall()
        archives = connection.execute("SELECT name FROM sqlite_master WHERE name LIKE '%_airflow_deleted%'")
        assert archives.fetchall() == []
    return sorted(event for (event,) in rows)


def test_old_rows_go_although_a_task_is_cut_off_from_the_database(own_stack, monkeypatch):
    # As Airflow's supervisor leaves the environment of a task's process.
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "airflow-db-not-allowed:///")
    monkeypatch.setenv("AIRFLOW__CORE__SQL_ALCHEMY_CONN", "airflow-db-not-allowed:///")
    assert events(own_stack) == ["new", "old"]
    heard: list[str] = []
    airflow_database.clean(own_stack, datetime.now(UTC), timedelta(days=60), heard.append)
    assert events(own_stack) == ["new"], heard


def test_a_command_that_fails_is_an_error_with_its_last_words(own_stack):
    airflow_database.own_database(own_stack).write_bytes(b"not a database")
    with pytest.raises(airflow_database.CleaningFailed, match=r"ended with status 1: .*DatabaseError"):
        airflow_database.clean(own_stack, datetime.now(UTC), timedelta(days=60), lambda line: None)


def test_too_short_a_history_is_refused():
    with pytest.raises(ValueError, match="at least 7 days, not 6"):
        airflow_database.clean_command(datetime.now(UTC), timedelta(days=6))
