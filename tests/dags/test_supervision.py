"""What the task of a shift does with its stream, and what nothing that happens to the task does to it."""

from __future__ import annotations

import asyncio

import pytest

from millrace.control.desired import read_desired
from tests.dags.supervised_world import STREAM, Shift, fired, looks, running_shift, still_waiting


def test_the_first_shift_deploys_starts_and_waits_in_the_triggerer(shift, world):
    shift.begin()
    assert world.orders == ["start"]
    assert read_desired(world.store, STREAM).who == f"Airflow, stream__{STREAM}, scheduled__1"
    assert type(shift.deferred.trigger).__name__ == "StreamTrigger"
    world.later(25)
    world.report()
    assert shift.wait()["reason"].startswith("idle: driver epoch 1")
    assert shift.resume(shift.wait()).deferred
    assert asyncio.run(still_waiting(shift.trigger()))
    assert world.orders == ["start"]


def test_a_driver_that_runs_when_airflow_starts_is_left_alone(shift, dag, world):
    running_shift(shift, world)
    Shift(dag).begin()
    assert world.orders == ["start"]


def test_a_silent_driver_is_restarted(shift, world, capsys):
    running_shift(shift, world)
    world.later(60)
    event = shift.wait()
    assert event["kind"] == "attention"
    assert "has not written for 60 s" in event["reason"]
    shift.resume(event)
    assert world.orders == ["start", "restart"]
    assert "restarted on the stream host, because driver epoch 1" in capsys.readouterr().out
    assert asyncio.run(still_waiting(shift.trigger())), "the new driver has yet to report"


def test_a_stop_is_respected_at_once_and_so_is_the_start_after_it(shift, world):
    running_shift(shift, world)
    world.desire("stopped", 2)
    event = shift.wait(quiet=True)
    assert event["reason"] == "ada changed its desired state to stopped (revision 2): to see"
    shift.resume(event)
    world.report("stopped")
    world.pid = None
    assert asyncio.run(still_waiting(shift.trigger()))
    assert world.orders == ["start"]
    world.later(60)
    world.desire("running", 3)
    shift.resume(shift.wait(quiet=True))
    assert world.orders == ["start", "start"]


def test_nothing_that_happens_to_the_task_touches_the_stream(shift, world):
    running_shift(shift, world)
    before = dict(world.store.objects)

    async def killed_by_hand():
        trigger = shift.trigger()
        task = asyncio.ensure_future(fired(trigger))
        await looks()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await trigger.on_kill()
        await trigger.cleanup()

    asyncio.run(killed_by_hand())
    shift.operator.on_kill()
    assert world.orders == ["start"]
    assert world.store.objects == before


def interruptions() -> list[BaseException]:
    """How Airflow ends a task's code: a timeout, SIGTERM (clear, mark failed, shutdown), Ctrl-C, an exit."""
    from airflow.sdk.exceptions import AirflowTaskTerminated, AirflowTaskTimeout

    return [
        AirflowTaskTimeout("over"),
        AirflowTaskTerminated("SIGTERM"),
        KeyboardInterrupt(),
        SystemExit(143),
    ]


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("place", ["the launcher", "the store"])
def test_an_interruption_anywhere_in_a_turn_leaves_the_stream_as_it_is(
    shift, dag, world, monkeypatch, number, place
):
    running_shift(shift, world)
    before = dict(world.store.objects)
    interruption = interruptions()[number]

    def interrupted(*_, **__):
        raise interruption

    with monkeypatch.context() as patch:
        patch.setattr(*((world, "state") if place == "the launcher" else (world.store, "get")), interrupted)
        with pytest.raises(type(interruption)):
            Shift(dag).begin()
    assert world.orders == ["start"]
    assert world.store.objects == before
    Shift(dag).begin()
    assert world.orders == ["start"], "and what is cleared and runs again finds it at work"


def test_a_restart_that_airflow_interrupts_is_taken_up_by_the_next_task(shift, dag, world, monkeypatch):
    from airflow.sdk.exceptions import AirflowTaskTerminated

    running_shift(shift, world)
    world.later(60)

    def interrupted(stream, within):
        world.pid = None
        raise AirflowTaskTerminated("SIGTERM between stop and start")

    with monkeypatch.context() as patch:
        patch.setattr(world, "restart", interrupted)
        with pytest.raises(AirflowTaskTerminated):
            shift.resume(shift.wait())
    assert read_desired(world.store, STREAM).state == "running"
    world.later(30)
    Shift(dag).begin()
    assert world.orders == ["start", "start"]


def test_there_is_nothing_that_airflow_would_call_or_run_out_of(dagbag):
    """Pausing calls nothing of ours, and neither may the end of a run or of a task."""
    for dag in dagbag.dags.values():
        if not dag.dag_id.startswith("stream__"):
            continue
        (task,) = dag.tasks
        assert (dag.dagrun_timeout, task.execution_timeout) == (None, None), dag.dag_id
        for moment in ("success", "failure", "retry", "skipped", "execute"):
            assert not getattr(dag, f"on_{moment}_callback", None), (dag.dag_id, moment)
            assert not getattr(task, f"on_{moment}_callback", None), (dag.dag_id, moment)
