"""What it costs to watch fifty streams: seconds of CPU of Airflow's triggerer, and its worker slots.

    python -m bench.watch [--streams 50] [--minutes 5]

A real Airflow (its four components and their database) and a real S3 server, with fifty DAGs whose tasks deploy and
then watch a stream each. The drivers are stand-ins: one program writes the heartbeat of each every five seconds, and
answers for the stream host. The triggerer's share of a core with nothing to watch is measured first and taken off.
"""

from __future__ import annotations

import argparse
import os
import socketserver
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xmlrpc.server import SimpleXMLRPCDispatcher, SimpleXMLRPCRequestHandler

import psutil
import yaml

from millrace.control.epochs import claim_epoch
from millrace.control.status import DriverStatus, write_status
from millrace.control.streamhost import socket_file
from millrace.local.credentials import ensure_secrets
from millrace.local.errors import StackError
from millrace.local.home import make_home, stack_settings
from millrace.local.jars import ensure_jars
from millrace.local.java import find_java
from millrace.local.marker import end
from millrace.local.ports import free_ports
from millrace.local.stack import Stack
from millrace.settings import DEFAULT_PORTS
from millrace.store import ObjectStore, StoreError

HEARTBEAT = 5.0


def main() -> None:
    """Measure, print two lines."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--streams", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=5.0)
    options = parser.parse_args()
    ensure_jars()
    with tempfile.TemporaryDirectory(prefix="mr-watch-", ignore_cleanup_errors=True) as directory:
        names = [f"stream_{number:02d}" for number in range(options.streams)]
        stack = _stack(Path(directory), names)
        try:
            measure(stack, names, options.minutes * 60)
        finally:
            stack.cancelled.set()
            end(stack.supervisor.processes(), patience=20)


def measure(stack: Stack, names: list[str], seconds: float) -> None:
    """Bring it up, measure the idle triggerer, let all streams begin, measure again, and print."""
    stack.configure()
    stack.start_s3()
    stack.migrate_airflow()
    with FakeHost(socket_file(stack.home)):
        beats = Heartbeats(stack.store, names)
        beats.start()
        # Nothing but the scheduler brings triggers to the triggerer, so without it that one is idle.
        for program in ("airflow-api-server", "airflow-triggerer"):
            stack.supervisor.start_program(program)
        wait(
            lambda: (found := stack.api.unhealthy()) is not None and "triggerer" not in found, 180, "Airflow"
        )
        time.sleep(30)
        idle = share_of_a_core(stack, min(seconds, 120))
        stack.start_airflow()
        began = time.monotonic()
        wait(lambda: deferred(stack) == len(names), 900, "every stream to be watched")
        print(f"{len(names)} streams watched after {time.monotonic() - began:.0f} s", flush=True)
        time.sleep(60)
        slots: list[int] = []
        busy = share_of_a_core(stack, seconds, lambda: slots.append(running(stack)))
        beats.stop()
    assert deferred(stack) == len(names), "a stream was given up meanwhile"
    assert beats.problems == [], beats.problems
    print(
        f"triggerer: {busy:.1%} of a core with {len(names)} streams, {idle:.1%} with none: "
        f"{busy - idle:.1%} for the watch; worker slots taken: at most {max(slots)}, looked {len(slots)} times",
        flush=True,
    )


def _stack(home: Path, names: list[str]) -> Stack:
    make_home(home)
    catalog = home / "catalog"
    catalog.mkdir()
    for file in ("feeds", "topics", "datasets"):
        (catalog / f"{file}.yaml").write_text("{}")
    entry = {"app": "word_count", "source": "rate://1", "sinks": ["live"], "trigger": "5s"}
    (catalog / "streams.yaml").write_text(yaml.safe_dump(dict.fromkeys(names, entry)))
    ports = zip(DEFAULT_PORTS, free_ports(len(DEFAULT_PORTS)), strict=True)
    chosen = {
        "MILLRACE_HOME": str(home),
        "MILLRACE_CATALOG": str(catalog),
        **{f"MILLRACE_PORT_{name}": str(port) for name, port in ports},
    }
    os.environ.update(chosen)
    os.environ.pop("MILLRACE_STREAMS", None)
    secrets = ensure_secrets(home)
    return Stack(stack_settings(), secrets, find_java(), threading.Event(), tuple(names))


def share_of_a_core(
    stack: Stack, seconds: float, look: Callable[[], None] = lambda: None, every: float = 10.0
) -> float:
    """CPU of the triggerer and its children over a span, as a share of one core; `look` is called meanwhile."""
    pid = stack.supervisor.state("airflow-triggerer").pid
    assert pid is not None
    began, before = time.monotonic(), cpu_seconds(pid)
    while (left := seconds - (time.monotonic() - began)) > 0:
        time.sleep(min(every, left))
        look()
    return (cpu_seconds(pid) - before) / (time.monotonic() - began)


def cpu_seconds(pid: int) -> float:
    """Of a process and its living descendants."""
    parent = psutil.Process(pid)
    times = [one.cpu_times() for one in (parent, *parent.children(recursive=True))]
    return sum(one.user + one.system for one in times)


def deferred(stack: Stack) -> int:
    """How many tasks wait in the triggerer."""
    return _count(stack, "deferred")


def running(stack: Stack) -> int:
    """How many tasks take a worker's slot."""
    return _count(stack, "running") + _count(stack, "queued")


def _count(stack: Stack, state: str) -> int:
    try:
        found = stack.api.get(f"/api/v2/dags/~/dagRuns/~/taskInstances?state={state}&limit=1")
    except StackError:
        return -1
    return int(found["total_entries"])


def wait(condition: Callable[[], object], within: float, what: str) -> None:
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {within:.0f} s in vain for {what}")
        time.sleep(1)


class Heartbeats:
    """The statuses of drivers that run and have nothing to do."""

    def __init__(self, store: ObjectStore, names: list[str]) -> None:
        self._store, self._names = store, names
        self._began = datetime.now(UTC)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.problems: list[str] = []

    def start(self) -> None:
        for name in self._names:
            claim_epoch(self._store, name, spec_revision=1)
        self._beat()
        self._thread.start()

    def stop(self) -> None:
        self._closing.set()
        self._thread.join(60)

    def _run(self) -> None:
        while not self._closing.wait(HEARTBEAT):
            try:
                self._beat()
            except StoreError as error:
                self.problems.append(str(error))

    def _beat(self) -> None:
        now = datetime.now(UTC)
        for name in self._names:
            status = DriverStatus(
                stream=name,
                driver_epoch=1,
                spec_revision=1,
                host="here",
                pid=os.getpid(),
                state="running",
                started_at=self._began,
                heartbeat_at=now,
                last_progress_at=now,
                lag=0,
            )
            write_status(self._store, status)


class FakeHost(SimpleXMLRPCDispatcher):
    """Answers as supervisord on its socket: every program runs, in this process."""

    def __init__(self, path: Path) -> None:
        super().__init__(allow_none=True)
        self._began = int(time.time())
        self._server = _Server(str(path), _Handler)
        self._server.dispatcher = self
        self.register_function(self._info, "supervisor.getProcessInfo")

    def __enter__(self) -> FakeHost:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _info(self, name: str) -> dict[str, Any]:
        return {
            "name": name,
            "statename": "RUNNING",
            "pid": os.getpid(),
            "start": self._began,
            "stop": 0,
            "now": int(time.time()),
            "exitstatus": 0,
            "spawnerr": "",
        }


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    dispatcher: FakeHost

    def _marshaled_dispatch(self, data: str, *rest: Any) -> str:
        return self.dispatcher._marshaled_dispatch(data, *rest)


class _Handler(SimpleXMLRPCRequestHandler):
    rpc_paths = ("/", "/RPC2")
    disable_nagle_algorithm = False

    def address_string(self) -> str:
        return "local"

    def log_request(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    main()
