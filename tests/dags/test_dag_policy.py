"""Every DAG, also one that is added later, keeps the house's rules."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from millrace.catalog import load_catalog
from millrace.settings import PROJECT_ROOT

TAGS = {"stream", "publish", "quality", "maintenance"}
"""The closed set. A new tag is added here on purpose, not in passing."""
NIGHTLY = ("quality_daily", "maintenance")
"""These have no start date, as with one in the past Airflow would begin with the night before."""


@pytest.fixture(scope="module")
def dags(dagbag):
    assert dagbag.import_errors == {}
    return dagbag.dags


def test_each_stream_and_feed_of_the_catalog_has_its_dag_and_nothing_else_is_there(dags):
    catalog = load_catalog(PROJECT_ROOT / "catalog")
    ours = {"compact_hourly", "quality_daily", "review_quarantine", "maintenance", "stream_control"}
    assert set(dags) == {
        *ours,
        *(f"stream__{name}" for name in catalog.streams),
        *(f"feed__{name}" for name in catalog.feeds),
    }


def test_every_dag_says_what_it_does_and_what_to_do_when_it_is_red(dags):
    for dag in dags.values():
        assert dag.description, dag.dag_id
        assert len(dag.doc_md) > 500, dag.dag_id
        for heading in ("is red", "Past incidents"):
            assert heading in dag.doc_md, f"{dag.dag_id}: the docs have no part on {heading!r}"
        assert "{" not in dag.doc_md, f"{dag.dag_id}: a placeholder was left in the docs"


def test_every_dag_has_tags_from_the_closed_set(dags):
    for dag in dags.values():
        assert dag.tags, dag.dag_id
        assert set(dag.tags) <= TAGS, dag.dag_id


def test_every_task_has_an_owner(dags):
    for dag in dags.values():
        for task in dag.tasks:
            assert task.owner == "millrace", task


def test_no_dag_surprises_with_runs_of_the_past(dags):
    for dag in dags.values():
        assert dag.catchup is False, dag.dag_id
        assert dag.max_active_runs == 1, dag.dag_id
        if dag.dag_id in NIGHTLY:
            continue
        assert dag.start_date is not None, dag.dag_id
        assert dag.start_date < datetime.now(UTC) - timedelta(days=1), (
            f"{dag.dag_id}: a start date that moves"
        )


@pytest.mark.parametrize("now", ["2026-05-05T04:30", "2026-05-05T12:00", "2026-05-05T23:59"])
def test_a_new_deployment_does_not_begin_with_the_work_of_a_night(dags, monkeypatch, now):
    for dag_id in NIGHTLY:
        assert next_run(dags[dag_id], monkeypatch, now).date() == date(2026, 5, 6), dag_id


def test_a_night_that_was_missed_is_made_up_for(dags, monkeypatch):
    for dag_id in NIGHTLY:
        last = next_run(dags[dag_id], monkeypatch, "2026-05-05T02:00")
        assert last.date() == date(2026, 5, 5), dag_id
        assert next_run(dags[dag_id], monkeypatch, "2026-05-08T12:00", last).date() == date(2026, 5, 8), (
            dag_id
        )


def next_run(dag, monkeypatch, now, last=None):
    """For when the scheduler plans a DAG's next run at `now` (UTC), the last one having been for `last`."""
    from airflow.serialization.decoders import decode_timetable
    from airflow.serialization.encoders import encode_timetable
    from airflow.timetables import trigger
    from airflow.timetables.base import DataInterval, TimeRestriction

    monkeypatch.setattr(trigger, "utcnow", lambda: datetime.fromisoformat(f"{now}+00:00"))
    timetable = decode_timetable(encode_timetable(dag.timetable))
    before = DataInterval.exact(last) if last is not None else None
    restriction = TimeRestriction(dag.start_date, None, catchup=dag.catchup)
    return timetable.next_dagrun_info(last_automated_data_interval=before, restriction=restriction).run_after


def test_retries_are_bounded_and_spaced(dags):
    for dag in dags.values():
        assert "retries" in dag.default_args, f"{dag.dag_id}: retries are left to Airflow's configuration"
        for task in dag.tasks:
            assert 0 <= task.retries <= 3, task
            assert task.retry_delay >= timedelta(minutes=1), task


def test_a_run_that_fails_at_once_is_not_followed_by_the_next_at_once(dags):
    continuous = [dag for dag in dags.values() if dag.schedule == "@continuous"]
    assert continuous
    for dag in continuous:
        for task in dag.tasks:
            assert task.retries > 0, f"{task}: its DAG is @continuous, so that a failure would loop"


def test_what_publishes_takes_turns(dags):
    assert dags["compact_hourly"].get_task("compact").pool == "publish"
    assert dags["compact_hourly"].get_task("fold_backlog").pool == "publish"
    assert dags["maintenance"].get_task("prune").pool == "publish"


def test_a_stream_that_cannot_read_again_says_so_and_offers_the_bridge(dags):
    docs = dags["stream__word_count"].doc_md
    assert "cannot be read again" in docs
    assert "`millrace feed lines 127.0.0.1:9999` brings the" in docs
    assert "cannot be read again" not in dags["stream__station_hourly"].doc_md
