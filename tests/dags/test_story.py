"""The log of a shift as a story, its colour at the end, and what a stepped clock does to its quiet."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from millrace import settings
from millrace.control.history import Circuit, load_history, write_history
from millrace.control.streamhost import log_file
from tests.dags.supervised_world import SPEC, STREAM, Shift, fired, running_shift, short


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """What the driver printed: two lives, the first of which ended badly."""
    monkeypatch.setenv("MILLRACE_HOME", str(tmp_path))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    path = log_file(settings.load().home, STREAM)
    path.parent.mkdir(parents=True)
    begins = f"2026-03-01T12:00:00Z millrace host: starting {STREAM}: python -m spark_apps.station_hourly\n"
    path.write_text(f"{begins}key hunter2\nOutOfMemoryError: heap\n{begins}the second life\n")
    return path


def look(shift: Shift) -> Shift:
    return shift.resume({"kind": "attention", "reason": "a look"})


def test_the_log_tells_the_story_line_by_line(dag, world, printed, capsys):
    shift = running_shift(Shift(dag), world)
    world.report("failed", error="JVM gone", exit_code=1)
    world.report("starting", epoch=2)
    world.later(30)
    look(shift)
    world.later(30)
    world.report(epoch=2)
    look(shift)
    world.later(60)
    look(shift)
    log = capsys.readouterr().out
    story = [
        "deployed for the first time (revision 1)",
        "started on the stream host, because it should run",
        "the stream host started it again after driver epoch 1 had ended: JVM gone",
        "  | key ***",
        "  | OutOfMemoryError: heap",
        f"{STREAM}: recovered after 30 s; it was starting",
        "what the driver printed last:",
        "  | the second life",
        "restarted on the stream host, because driver epoch 2",
    ]
    told = 0
    for line in story:
        place = log.find(line, told)
        assert place >= 0, f"{line!r} is missing after {told}:\n{log}"
        told = place + len(line)
    assert "hunter2" not in log


def test_a_shift_with_an_open_circuit_is_red_whatever_its_budget(dag, world, capsys):
    from airflow.sdk.exceptions import AirflowFailException

    shift = running_shift(Shift(dag, short(1)), world)
    found = load_history(world.store, STREAM)
    circuit = Circuit(opened_at=world.store.now, failures=12, reason="boom")
    opened = found.history.model_copy(update={"circuit": circuit})
    write_history(world.store, STREAM, opened, replacing=found.etag)
    with pytest.raises(AirflowFailException, match=r"its circuit is open since .* the last because boom"):
        shift.resume(shift.wait(quiet=True))
    assert "12 starts did not last" in shift.xcoms["return_value"]["circuit"]
    assert load_history(world.store, STREAM).history.shifts[-1].red


def test_the_report_links_to_the_log_and_to_a_spark_ui_that_is_on(dag, world, printed, capsys):
    shift = running_shift(Shift(dag, short(1)), world)
    world.report(spark_ui="http://127.0.0.1:4040")
    shift.resume(shift.wait())
    assert (shift.result["spark_ui"], shift.result["log"]) == ("http://127.0.0.1:4040", str(printed))
    log = capsys.readouterr().out
    assert "Spark UI        http://127.0.0.1:4040" in log
    assert f"driver's log    {printed}" in log


def test_a_clock_that_was_set_back_does_not_make_the_quiet_last_a_day(dag, world, monkeypatch):
    from millrace_airflow import trigger as module

    shift = running_shift(Shift(dag), world)
    world.report("failed", error="boom", exit_code=12)
    monkeypatch.setattr(module, "LONGEST_QUIET", 0.2)
    trigger = shift.trigger(quiet=True)
    trigger.quiet_until = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    event = asyncio.run(asyncio.wait_for(fired(trigger), 10))
    assert "boom" in event["reason"]


def test_rules_of_the_catalog_reach_the_trigger(dag, world):
    rules = SPEC.health.model_copy(update={"stalled_after": timedelta(seconds=10)})
    shift = running_shift(Shift(dag, SPEC.model_copy(update={"health": rules})), world)
    world.later(60)
    world.report(lag=9, still_seconds=11)
    assert shift.wait()["reason"].startswith("stalled: 9 records wait and nothing has moved for 11 s")
