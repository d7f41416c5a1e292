"""The operator and its trigger, as Airflow drives them: execute, defer, fire, resume.

The store is in memory and its clock is moved by hand; the stream host is a stand-in that keeps book.
"""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from millrace.catalog import load_catalog
from millrace.control.desired import read_desired
from millrace.control.history import load_history
from millrace.control.process import ProcessInfo, ProcessState
from millrace.control.status import DriverStatus, write_status
from millrace.control.watch import ControlWatch
from millrace.settings import PROJECT_ROOT
from millrace.store import MemoryStore, StoreUnavailable

SPEC = load_catalog(PROJECT_ROOT / "catalog").streams["station_hourly"]
STREAM = SPEC.name
START = datetime(2026, 3, 1, 12, tzinfo=UTC)


class World:
    """A store with a clock, a stream host, and a driver that reports when told to."""

    def __init__(self) -> None:
        self.store = CountingStore()
        self.store.now = START
        self.orders: list[str] = []
        self.pid: int | None = None
        self.since = START
        self.problem: Exception | None = None

    def state(self, stream: str) -> ProcessInfo:
        running = self.pid is not None
        state = ProcessState.RUNNING if running else ProcessState.STOPPED
        return ProcessInfo(stream, state, self.pid, self.since if running else None, self.store.now)

    def start(self, stream: str) -> None:
        self.orders.append("start")
        self.pid, self.since = len(self.orders) * 1000, self.store.now

    def stop(self, stream: str, within: timedelta) -> None:
        self.orders.append("stop")
        self.pid = None

    def restart(self, stream: str, within: timedelta) -> None:
        self.orders.append("restart")
        self.pid, self.since = len(self.orders) * 1000, self.store.now

    def later(self, seconds: float) -> None:
        self.store.now += timedelta(seconds=seconds)

    def report(self, state: str = "running", epoch: int = 1, **changes) -> None:
        fields = {
            "stream": STREAM,
            "driver_epoch": epoch,
            "spec_revision": 1,
            "host": "here",
            "pid": self.pid or 1,
            "state": state,
            "started_at": self.since,
            "heartbeat_at": self.store.now,
            "last_progress_at": self.store.now,
            "lag": 0,
        }
        self.store.put(f"control/{STREAM}/epochs/{epoch:08d}.json", b"{}")
        write_status(self.store, DriverStatus.model_validate(fields | changes))

    def desire(self, state: str, revision: int) -> None:
        current = read_desired(self.store, STREAM)
        changed = current.model_copy(
            update={
                "state": state,
                "spec_revision": revision,
                "who": "ada",
                "why": "to see",
                "at": self.store.now,
            }
        )
        self.store.put(f"control/{STREAM}/desired.json", changed.to_body())


class CountingStore(MemoryStore):
    listings = 0
    away = False

    def get(self, key):
        if self.away:
            raise StoreUnavailable("the store is away")
        return super().get(key)

    def list_objects(self, prefix, *, after=None):
        if self.away:
            raise StoreUnavailable("the store is away")
        self.listings += 1
        return super().list_objects(prefix, after=after)


@pytest.fixture
def world(monkeypatch):
    from millrace_airflow import access, shared_watch

    made = World()
    monkeypatch.setattr(access, "store_of", lambda settings: made.store)
    monkeypatch.setattr(access, "launcher_of", lambda settings: made)
    monkeypatch.setattr(shared_watch, "ROUND", 0.02)
    watch = partial(ControlWatch, made.store, monotonic=lambda: made.store.now.timestamp())
    monkeypatch.setattr(shared_watch, "_watch_of_settings", watch)
    return made


class Shift:
    """One run of the DAG's task, with Airflow's part played step by step."""

    def __init__(self, dag, spec=SPEC) -> None:
        self.operator = dag.get_task("supervise").prepare_for_execution()
        self.operator.spec = spec
        self.xcoms: dict[str, object] = {}
        self.context = {"run_id": "scheduled__1", "ti": self}
        self.result: dict | None = None
        self.deferred = None

    def xcom_push(self, key, value) -> None:
        self.xcoms[key] = value

    def begin(self) -> Shift:
        return self._until_deferred(self.operator.execute, self.context)

    def resume(self, event) -> Shift:
        kwargs = json.loads(json.dumps(self.deferred.kwargs))
        return self._until_deferred(
            getattr(self.operator, self.deferred.method_name), self.context, event, **kwargs
        )

    def wait(self, *, quiet: bool = False) -> dict:
        """What the trigger fires; with `quiet` false its quiet time is taken for over."""
        return asyncio.run(asyncio.wait_for(fired(self.trigger(quiet)), 10))

    def trigger(self, quiet: bool = False):
        """The trigger as a triggerer builds it: from its class path and its arguments in the database."""
        from airflow.sdk.module_loading import import_string

        path, arguments = self.deferred.trigger.serialize()
        arguments = json.loads(json.dumps(arguments))
        if not quiet:
            arguments["quiet_until"] = None
        return import_string(path)(**arguments)

    def _until_deferred(self, step, *arguments, **keywords) -> Shift:
        from airflow.sdk.exceptions import TaskDeferred

        self.deferred = None
        try:
            self.result = step(*arguments, **keywords)
        except TaskDeferred as deferred:
            self.deferred = deferred
        return self


async def fired(trigger) -> dict:
    async for event in trigger.run():
        return event.payload
    raise AssertionError("the trigger ended without an event, which Airflow takes for a failure")


async def still_waiting(trigger, rounds: int = 5) -> bool:
    """Whether the trigger sees nothing to do for some rounds."""
    waiting = asyncio.ensure_future(fired(trigger))
    await asyncio.sleep(rounds * 0.02)
    done = waiting.done()
    waiting.cancel()
    return not done


@pytest.fixture
def dag(dagbag):
    return dagbag.dags[f"stream__{STREAM}"]


@pytest.fixture
def shift(dag, world):
    return Shift(dag)


def running_shift(shift, world) -> Shift:
    """A shift whose driver was started and does its work."""
    shift.begin()
    world.later(25)
    world.report()
    return shift.resume(shift.wait())


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
        await asyncio.sleep(0.1)
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


def test_a_triggerer_that_was_killed_is_followed_by_one_that_knows_as_much(shift, world):
    running_shift(shift, world)
    assert asyncio.run(still_waiting(shift.trigger()))
    world.report("failed", error="boom", exit_code=12)
    assert "to start: it should run, but driver epoch 1" in shift.wait()["reason"]


def test_many_triggers_share_one_listing(shift, world, monkeypatch):
    running_shift(shift, world)

    async def fifty():
        from millrace_airflow.shared_watch import shared_watch

        waiting = [asyncio.ensure_future(fired(shift.trigger())) for _ in range(50)]
        await asyncio.sleep(0.2)
        watch = shared_watch()
        rounds, listings = watch._rounds, world.store.listings - before
        for one in waiting:
            one.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert watch._task is None, "nobody watches, so nobody looks"
        return rounds, listings

    before = world.store.listings
    rounds, listings = asyncio.run(fifty())
    assert rounds >= 2
    assert listings <= rounds + 1


def test_an_outage_of_the_store_is_waited_out(shift, world, capsys):
    running_shift(shift, world)

    async def outage():
        waiting = asyncio.ensure_future(fired(shift.trigger()))
        world.store.away = True
        await asyncio.sleep(0.1)
        assert not waiting.done()
        world.store.away = False
        world.report("failed", error="boom", exit_code=12)
        return await asyncio.wait_for(waiting, 10)

    assert asyncio.run(outage())["kind"] == "attention"
    assert "watching goes on" in capsys.readouterr().out


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


def short(seconds: float):
    return SPEC.model_copy(update={"shift": timedelta(seconds=seconds)})


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
