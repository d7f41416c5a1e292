"""A shift lasts its full length whatever goes wrong, and ends with a report."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest

from millrace.control.history import load_history
from tests.dags.supervised_world import STREAM, Shift, running_shift, short, still_waiting


def test_a_store_that_is_away_fails_no_shift_before_its_end(shift, world, capsys):
    world.store.away = True
    shift.begin()
    assert (
        "supervision cannot work: the store is away. The driver is left as it is" in capsys.readouterr().out
    )
    assert asyncio.run(still_waiting(shift.trigger(quiet=True)))
    world.store.away = False
    assert "trying again" in shift.wait()["reason"]
    shift.resume(shift.wait())
    assert world.orders == ["start"]


def test_even_an_error_of_supervision_itself_does_not_end_the_shift(shift, world, monkeypatch, capsys):
    monkeypatch.setattr(world, "state", lambda stream: 1 / 0)
    assert shift.begin().deferred
    log = capsys.readouterr().out
    assert "supervision failed with ZeroDivisionError" in log
    assert "Traceback" in log


def test_a_shift_ends_with_a_report(dag, world, capsys):
    shift = Shift(dag, short(1))
    running_shift(shift, world)
    world.report(records=500, batches=7, facts=90, rejected={"future": 2}, lag=3, batch_seconds_p50=0.4)
    event = shift.wait()
    assert event["kind"] == "shift_over"
    shift.resume(event)
    assert shift.deferred is None
    assert {key: shift.result[key] for key in ("records", "batches", "facts", "rejected", "restarts")} == {
        "records": 500,
        "batches": 7,
        "facts": 90,
        "rejected": 2,
        "restarts": 1,
    }
    assert shift.result["largest_lag"] == 3
    assert json.dumps(shift.result)
    assert "records in" in capsys.readouterr().out
    (kept,) = load_history(world.store, STREAM).history.shifts
    assert (kept.records, kept.batches, kept.restarts, kept.red) == (500, 7, 1, False)


def test_an_unhealthy_shift_lasts_its_full_length_and_fails_at_its_end(dag, world, monkeypatch):
    from airflow.sdk.exceptions import AirflowFailException

    monkeypatch.setattr("millrace.control.shift.LEAST_BUDGET", timedelta(0))
    shift = Shift(dag, short(1))
    began = datetime.now(UTC)
    shift.begin()
    world.report("failed", error="no such topic", exit_code=11)
    event = shift.wait(quiet=True)
    assert (event["kind"], datetime.now(UTC) - began >= timedelta(seconds=0.95)) == ("shift_over", True)
    world.later(3)
    with pytest.raises(
        AirflowFailException, match=r"unhealthy for .* of this shift .* never reported|no driver"
    ):
        shift.resume(event)
    assert shift.xcoms["return_value"]["unhealthy_seconds"] > 0


def test_a_shift_that_could_not_supervise_fails_at_its_end_with_the_reason(dag, world):
    from airflow.sdk.exceptions import AirflowFailException

    shift = Shift(dag, short(0.5))
    world.store.away = True
    shift.begin()
    with pytest.raises(AirflowFailException, match="the store is away"):
        shift.resume(shift.wait())


def test_back_off_is_kept_over_shifts(shift, dag, world):
    shift.begin()
    for _ in range(3):
        world.pid = None
        world.later(100)
        shift = Shift(dag).begin()
    assert [start.attempt for start in load_history(world.store, STREAM).history.starts] == [1, 2, 3, 4]
    world.pid = None
    Shift(dag).begin()
    assert len(world.orders) == 4, "the back-off of the last start is not over"
