"""The review DAG: what it asks, as Airflow parks it, and what an answer leaves behind."""

from __future__ import annotations

import itertools
import json
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta

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


def run(dag, monkeypatch, meanwhile=None) -> dict:
    """Runs the DAG until it waits for a person, then does `meanwhile`, and goes on until it waits again; the
    state of each task, and what is asked."""
    from airflow.models.hitl import HITLDetail
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session

    todo = [meanwhile] if meanwhile else []

    real = time.sleep

    def sleep(seconds):  # a test run of Airflow's would ask the database every second, for ever
        if threading.current_thread() is not threading.main_thread():
            return real(seconds)
        if not todo:
            raise Parked
        return todo.pop()()

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


def newest_question(session):
    """The task that waits in the newest run; those of other tests are never answered."""
    from airflow.models.taskinstance import TaskInstance

    waiting = session.query(TaskInstance).filter_by(state="awaiting_input").all()
    return max(waiting, key=lambda one: one.dag_run.logical_date)


def respond(option: str, why: str):
    """What Airflow's API does with the answer of a person, but for logging in."""
    from airflow.models.hitl import HITLDetail, HITLUser
    from airflow.models.trigger import handle_event_submit
    from airflow.triggers.base import TriggerEvent
    from airflow.utils.session import create_session

    with create_session() as session:
        instance = newest_question(session)
        asked = session.query(HITLDetail).filter_by(ti_id=instance.id).one()
        asked.responded_by = HITLUser(id="1", name="ana")
        asked.responded_at = datetime.now(UTC)
        asked.chosen_options, asked.params_input = [option], {"why": why}
        handle_event_submit(
            TriggerEvent(asked.as_resume_event_payload()), task_instance=instance, session=session
        )


def let_time_pass():
    """The deadline moves into the past, and Airflow's scheduler looks."""
    from airflow.jobs.job import Job
    from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
    from airflow.utils.session import create_session

    with create_session() as session:
        instance = newest_question(session)
        left = instance.trigger_timeout - datetime.now(UTC)
        assert timedelta(hours=23) < left <= timedelta(hours=24)
        instance.trigger_timeout -= left + timedelta(seconds=1)
    SchedulerJobRunner(Job()).check_awaiting_input_timeouts()


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


@pytest.mark.parametrize("option", ["Approve", "Reject"])
def test_an_answer_ends_the_run_and_is_acted_upon(airflow_db, store, entry, dag, monkeypatch, option):
    done = run(dag, monkeypatch, lambda: respond(option, "a fair in town"))
    assert done["states"] == {("find", -1): "success", ("ask", 0): "success"}
    decision = read_decision(store, DATASET.name, HOUR, entry["digest"])
    assert decision is not None
    assert (decision.decision, decision.who) == ({"Approve": "approved", "Reject": "rejected"}[option], "ana")
    (folded,) = compact_hours(store, DATASET, [HOUR], audit=auditor_of(store, [DATASET]))
    if option == "Approve":
        assert (folded.outcome, folded.rows) == ("published", 1)
    else:
        assert folded.outcome == "quarantined"
        assert "ana" in folded.error
        assert "a fair in town" in folded.error
    again = run(dag, monkeypatch)
    assert again["states"] == {("find", -1): "success", ("ask", -1): "skipped"}, "nobody is asked again"


def test_an_answer_without_a_reason_makes_the_run_red_and_is_asked_again(
    airflow_db, store, entry, dag, monkeypatch
):
    done = run(dag, monkeypatch, lambda: respond("Reject", " "))
    assert done["states"]["ask", 0] == "failed"
    assert run(dag, monkeypatch)["states"]["ask", 0] == "awaiting_input"


def test_no_answer_within_a_day_ends_the_run_and_decides_nothing(airflow_db, store, entry, dag, monkeypatch):
    done = run(dag, monkeypatch, let_time_pass)
    assert done["states"] == {("find", -1): "success", ("ask", 0): "success"}
    assert read_decision(store, DATASET.name, HOUR, entry["digest"]) is None
    assert run(dag, monkeypatch)["states"]["ask", 0] == "awaiting_input"


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
