"""The supervisord of a home: starting it, talking to it over its unix socket, ending it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import psutil

from millrace.local.errors import StackError
from millrace.local.marker import processes_of
from millrace.local.programs import config_file, log_dir, order_of, run_dir, socket_file

_NO_ANSWER = (OSError, http.client.HTTPException, xmlrpc.client.ProtocolError)
_ALREADY_STARTED, _NOT_RUNNING = 60, 70  # supervisor.xmlrpc.Faults


@dataclass(frozen=True)
class ProgramState:
    """What supervisord says of a program: STOPPED, STARTING, RUNNING, BACKOFF, STOPPING, EXITED or FATAL."""

    name: str
    state: str
    pid: int | None
    since: datetime
    """When it started or stopped, UTC."""
    reason: str
    """Why it could not be started; empty when all is well."""


class Supervisor:
    """One home's supervisord. Every method may raise StackError when it does not answer."""

    def __init__(self, home: Path) -> None:
        self._home = home

    def is_running(self) -> bool:
        """Whether it answers; a socket that a dead one left behind does not."""
        try:
            return bool(self._call("getState")["statename"])
        except StackError:
            return False

    def start(self, environment: Mapping[str, str], patience: float = 20) -> None:
        """Start it, with nothing of the stack running yet, and wait until it answers.

        It is in a session of its own: Ctrl-C at the terminal does not reach it.
        """
        for stale in (socket_file(self._home), run_dir(self._home) / "stack.pid"):
            stale.unlink(missing_ok=True)
        log = log_dir(self._home) / "supervisord.out"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "supervisor.supervisord", "-n", "-c", str(config_file(self._home))],
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                cwd="/",
            )
        self._remember(process.pid)
        deadline = time.monotonic() + patience
        while not self.is_running():
            if process.poll() is not None or time.monotonic() > deadline:
                said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
                raise StackError(f"supervisord does not start: {said[-1] if said else 'it says nothing'}")
            time.sleep(0.05)

    def pid(self) -> int | None:
        """The process of the last start, if it is still that very process."""
        process = self._started()
        with contextlib.suppress(psutil.NoSuchProcess):
            if process is not None and process.status() != psutil.STATUS_ZOMBIE:
                return process.pid
        return None

    def processes(self) -> list[psutil.Process]:
        """Every living process of this home's stack, also of a run whose supervisord is dead."""
        return processes_of(self._home, session=self._session())

    def _started(self) -> psutil.Process | None:
        noted = self._noted()
        try:
            process = psutil.Process(noted["pid"])
            return process if abs(process.create_time() - noted["create_time"]) < 1 else None
        except (KeyError, psutil.Error):
            return None

    def _session(self) -> int | None:
        """The session of the last start; None when its number may be another's by now. Numbers begin anew when the
        machine is started, and one that a process has again had no member left."""
        noted = self._noted()
        if not noted or noted["create_time"] < psutil.boot_time():
            return None
        number = int(noted["pid"])
        return None if psutil.pid_exists(number) and self._started() is None else number

    def states(self) -> list[ProgramState]:
        """Every program, in the order in which they start (supervisord itself sorts by name)."""
        found = [_state(info) for info in self._call("getAllProcessInfo")]
        return sorted(found, key=lambda state: order_of(state.name))

    def state(self, program: str) -> ProgramState:
        return _state(self._call("getProcessInfo", program))

    def start_program(self, program: str) -> None:
        """Begin to start it; harmless when it runs."""
        try:
            self._call("startProcess", program, False)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode != _ALREADY_STARTED:
                raise StackError(f"{program} cannot be started: {fault.faultString}") from None

    def stop_programs(self, programs: Sequence[str], patience: float) -> list[str]:
        """Stop these at the same time and wait. Returns those that `patience` seconds were not enough for.

        A program is killed with its process group when its own time to stop is over.
        """
        for program in programs:
            try:
                self._call("stopProcess", program, False)
            except xmlrpc.client.Fault as fault:
                if fault.faultCode != _NOT_RUNNING:
                    raise StackError(f"{program} cannot be stopped: {fault.faultString}") from None
        deadline = time.monotonic() + patience
        while True:
            left = [s.name for s in self.states() if s.name in programs and s.pid is not None]
            if not left or time.monotonic() > deadline:
                return left
            time.sleep(0.1)

    def shut_down(self, patience: float = 30) -> None:
        """End supervisord itself, and with it what still runs."""
        pid = self.pid()
        with contextlib.suppress(StackError):
            self._call("shutdown")
        if pid is None:
            return
        try:
            psutil.Process(pid).wait(patience)
        except psutil.TimeoutExpired:
            psutil.Process(pid).kill()
        except psutil.NoSuchProcess:
            pass

    @property
    def _note(self) -> Path:
        return run_dir(self._home) / "stack.json"

    def _noted(self) -> dict[str, Any]:
        try:
            return dict(json.loads(self._note.read_text(encoding="utf-8")))
        except (OSError, ValueError):
            return {}

    def _remember(self, pid: int) -> None:
        note = {"pid": pid, "create_time": psutil.Process(pid).create_time(), "started_by": os.getpid()}
        self._note.write_text(json.dumps(note), encoding="utf-8")

    def _call(self, method: str, *arguments: Any) -> Any:
        from supervisor.xmlrpc import SupervisorTransport

        transport = SupervisorTransport(None, None, f"unix://{socket_file(self._home)}")
        try:
            proxy = xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport)
            return getattr(proxy.supervisor, method)(*arguments)
        except _NO_ANSWER as error:
            raise StackError(f"the stack of {self._home} does not answer ({error}): is it up?") from None
        finally:
            cast("Any", transport).close()


def _state(info: dict[str, Any]) -> ProgramState:
    state = str(info["statename"])
    ended = state in ("STOPPED", "EXITED", "FATAL", "BACKOFF")
    moment = info["stop"] if ended and info["stop"] else info["start"]
    return ProgramState(
        name=str(info["name"]),
        state=state,
        pid=int(info["pid"]) or None,
        since=datetime.fromtimestamp(moment, UTC),
        reason=str(info["spawnerr"]),
    )
