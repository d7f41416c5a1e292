"""A stream to supervise as Airflow does, step by step: execute, defer, fire, resume.

The store is in memory and its clock is moved by hand; the stream host is a stand-in that keeps book.
"""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta

from millrace.catalog import load_catalog
from millrace.control.desired import read_desired
from millrace.control.process import ProcessInfo, ProcessState
from millrace.control.status import DriverStatus, write_status
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


async def looks(rounds: int = 3) -> int:
    """Wait until the store was looked at so often; which round that was. Whoever watches has seen all but the last."""
    from millrace_airflow.shared_watch import shared_watch

    seen = 0
    for _ in range(rounds):
        seen, _ = await asyncio.wait_for(shared_watch().next_sight(STREAM, seen), 60)
    return seen


async def still_waiting(trigger) -> bool:
    """Whether the trigger sees nothing to do for some rounds."""
    waiting = asyncio.ensure_future(fired(trigger))
    looking = asyncio.ensure_future(looks())
    await asyncio.wait({waiting, looking}, return_when=asyncio.FIRST_COMPLETED)
    done = waiting.done()
    for one in (waiting, looking):
        one.cancel()
    await asyncio.gather(waiting, looking, return_exceptions=True)
    return not done


def running_shift(shift, world) -> Shift:
    """A shift whose driver was started and does its work."""
    shift.begin()
    world.later(25)
    world.report()
    return shift.resume(shift.wait())


def short(seconds: float):
    return SPEC.model_copy(update={"shift": timedelta(seconds=seconds)})
