"""The review DAG: what it asks, as Airflow parks it, and what an answer leaves behind."""

from __future__ import annotations

import itertools
import json
from contextlib import suppress
from datetime import UTC, datetime

import pytest

from millrace.publish.compact import compact_hours
from millrace.quality.auditor import auditor_of
from millrace.quality.quarantine import approval_key, read_decision, rejection_key, waiting_entries
from tests.dags.conftest import DAGS
from tests.unit.quality.builders import DATASET, HOUR, good, land

_runs = itertools.count()


@pytest.fixture
def entry(store):
    """An hour in quarantine, with a station whose name tries to be more than a name."""
    land(store, good(total_rental=5000, system_id="{{ var }}|<b>", stations=1), 1)
    compact_hours(store, DATASET, [HOUR], audit=auditor_of(store, [DATASET]))
    (found,) = waiting_entries(store, DATASET)
    return {
        "name": "hourly_summary 2026-03-04 08h",
        "dataset": DATASET.name,
        "hour": found.hour.isoformat(),
        "digest": found.digest,
    }


@pytest.fixture
def dag():
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(dag_folder=str(DAGS / "review_quarantine.py")).dags["review_quarantine"]


class Parked(Exception):
    """All that is left to do is to wait for a person."""


def run(dag, monkeypatch) -> dict:
    """Runs the DAG until it waits for a person; the state of each task, and what is asked."""
    from airflow.models.hitl import HITLDetail
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session

    def sleep(seconds):  # a test run of Airflow's would ask the database every second, for ever
        raise Parked

    monkeypatch.setattr("time.sleep", sleep)
    date = datetime(2025, 1, 1, 0, next(_runs), tzinfo=UTC)
    with suppress(Parked):
        dag.test(logical_date=date)
    with create_session() as session:
        instances = [
            one
            for one in session.query(TaskInstance).filter_by(dag_id=dag.dag_id).all()
            if one.dag_run.logical_date == date
        ]
        asked = [session.query(HITLDetail).filter_by(ti_id=one.id).one_or_none() for one in instances]
        return {
            "states": {(one.task_id, one.map_index): str(one.state) for one in instances},
            "asked": [(one.subject, one.body, one.options, one.params) for one in asked if one],
        }


def answer(entry, option: str, why: str | None):
    from millrace_airflow.review import ReviewQuarantineOperator

    asked = ReviewQuarantineOperator(task_id="ask", entry=entry)
    return asked.execute_complete(
        {},
        {
            "chosen_options": [option],
            "params_input": {"why": why} if why is not None else {},
            "responded_at": datetime(2026, 3, 4, 12, tzinfo=UTC),
            "responded_by_user": {"id": "1", "name": "ana"} if why is not None else None,
        },
    )


def test_nothing_in_quarantine_asks_nothing(airflow_db, store, dag, monkeypatch):
    done = run(dag, monkeypatch)
    assert done["states"] == {("find", -1): "success", ("ask", -1): "skipped"}


def test_an_hour_in_quarantine_is_asked_about_with_its_rows_as_plain_text(
    airflow_db, store, entry, dag, monkeypatch
):
    done = run(dag, monkeypatch)
    assert done["states"] == {("find", -1): "success", ("ask", 0): "awaiting_input"}
    ((subject, body, options, params),) = done["asked"]
    assert subject == "In quarantine: hourly_summary 2026-03-04 08h"
    assert options == ["Approve", "Reject", "Decide later"]
    assert list(params) == ["why"]
    assert r"| {{ var }}\|\<b\> | s0 | 5000 |" in body
    assert "At most 1,000 rentals per station and hour" in body


@pytest.mark.parametrize(("option", "key"), [("Approve", approval_key), ("Reject", rejection_key)])
def test_an_answer_is_kept_with_who_when_and_why(store, entry, option, key):
    assert answer(entry, option, " a fair in town ") == option
    kept = json.loads(store.get(key(DATASET.name, HOUR, entry["digest"])).body)
    assert (kept["who"], kept["at"], kept["why"]) == ("ana", "2026-03-04T12:00:00Z", "a fair in town")
    assert waiting_entries(store, DATASET) == []


@pytest.mark.parametrize("why", ["", "  "])
def test_an_answer_without_a_reason_decides_nothing(store, entry, why):
    from airflow.sdk.exceptions import AirflowFailException

    with pytest.raises(AirflowFailException, match="without a reason"):
        answer(entry, "Approve", why)
    assert read_decision(store, DATASET.name, HOUR, entry["digest"]) is None


def test_no_answer_in_time_decides_nothing(store, entry):
    assert answer(entry, "Decide later", None) == "Decide later"
    assert len(waiting_entries(store, DATASET)) == 1
