"""The launcher for a stream host: start, stop and look at drivers over supervisord's XML-RPC.

A launcher is the only part of control that differs by place. Every call is bounded in time and every
failure says what is wrong and what to do; the calls block, so not for an event loop.
"""

from __future__ import annotations

import http.client
import os
import signal
import time
import xmlrpc.client
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from supervisor.xmlrpc import Faults, SupervisorTransport, UnixStreamHTTPConnection

from millrace.control.process import (
    NOT_RUNNING,
    HostUnavailable,
    LauncherError,
    ProcessInfo,
    ProcessState,
)
from millrace.control.streamhost import socket_file
from millrace.settings import Settings
from millrace.stream_host_access import PASSWORD, USERNAME, StreamHostAccess

ANSWER_WITHIN = 10.0
"""Seconds. supervisord answers in milliseconds; one that is stopped or swapped out must not hold a task."""
POLL = 0.1
KILL_WITHIN = 5.0


class Launcher(Protocol):
    """Puts drivers somewhere. All methods raise LauncherError, HostUnavailable when there is no answer."""

    def state(self, stream: str) -> ProcessInfo:
        """What the process of a stream does now."""
        ...

    def start(self, stream: str) -> None:
        """Start the driver; no harm when it runs. Returns at once: the driver reports to the store."""
        ...

    def stop(self, stream: str, within: timedelta) -> None:
        """End the driver: SIGTERM, and after `within` SIGKILL of its whole process group."""
        ...

    def restart(self, stream: str, within: timedelta) -> None:
        """Stop, then start."""
        ...


class StreamHost:
    """A stream host: this machine's, through its unix socket, or another, through its login."""

    def __init__(self, at: Path | StreamHostAccess) -> None:
        self._at = at

    @classmethod
    def of(cls, settings: Settings) -> StreamHost:
        return cls(settings.stream_host if settings.stream_host.at else socket_file(settings.home))

    def states(self) -> dict[str, ProcessInfo]:
        """Every program of the host by stream name."""
        found = [_info(fields) for fields in self._call("getAllProcessInfo")]
        return {info.stream: info for info in found}

    def state(self, stream: str) -> ProcessInfo:
        return _info(self._call("getProcessInfo", stream, about=stream))

    def start(self, stream: str) -> None:
        self._call("startProcess", stream, False, about=stream, harmless=Faults.ALREADY_STARTED)

    def stop(self, stream: str, within: timedelta) -> None:
        # A process that waits in BACKOFF has none to end, but it must not come back either.
        self._call("stopProcess", stream, False, about=stream, harmless=Faults.NOT_RUNNING)
        if self._wait_until_gone(stream, within.total_seconds()):
            return
        # The host kills the group when the time of its own configuration is up. It is done here when the
        # caller's is shorter.
        pid = self.state(stream).pid
        if pid:
            self._kill(stream, pid)
        if not self._wait_until_gone(stream, KILL_WITHIN):
            raise LauncherError(
                f"process {pid} of stream {stream} does not end, not even after SIGKILL: it hangs in the "
                "kernel (a dead disk or network file system?); look at it with `ps -o stat,wchan -p`"
            )

    def end(self, stream: str) -> None:
        """Ask the host to end the driver, and return at once: SIGTERM now, and SIGKILL of the process group when
        the host's own deadline is over (`stopwaitsecs`), whoever else is there to see to it."""
        self._call("stopProcess", stream, False, about=stream, harmless=Faults.NOT_RUNNING)

    def restart(self, stream: str, within: timedelta) -> None:
        self.stop(stream, within)
        self.start(stream)

    def _kill(self, stream: str, pid: int) -> None:
        if isinstance(self._at, StreamHostAccess):
            # Its RPC knows one process, not the group; a JVM ends by itself when its Python side is gone.
            self._call("signalProcess", stream, "KILL", about=stream, harmless=Faults.NOT_RUNNING)
            return
        with suppress(ProcessLookupError):  # the socket is local, so the process group is too
            os.killpg(pid, signal.SIGKILL)

    def _wait_until_gone(self, stream: str, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self.state(stream).state not in NOT_RUNNING:
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL)
        return True

    def _call(self, method: str, *arguments: Any, about: str = "", harmless: int | None = None) -> Any:
        transport = _Transport(self._at)
        server = xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport)
        try:
            return getattr(server.supervisor, method)(*arguments)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode == harmless:
                return None
            raise self._explained(fault, about) from None
        except xmlrpc.client.ProtocolError as error:
            if error.errcode == http.client.UNAUTHORIZED:
                raise LauncherError(
                    f"the stream host at {self._where} refuses this login; {USERNAME} and {PASSWORD} must be the same "
                    "here as there"
                ) from None
            raise self._no_answer(error) from error
        except (OSError, http.client.HTTPException) as error:
            raise self._no_answer(error) from error
        finally:
            transport.close()

    @property
    def _where(self) -> str:
        return str(self._at.at if isinstance(self._at, StreamHostAccess) else self._at)

    def _no_answer(self, error: Exception) -> HostUnavailable:
        return HostUnavailable(
            f"the stream host does not answer on {self._where} ({error or type(error).__name__}); see "
            "`millrace status` and `millrace logs NAME=streamhost`, start it with `millrace up` "
            "(in containers: `docker compose up -d`)"
        )

    def _explained(self, fault: xmlrpc.client.Fault, stream: str) -> LauncherError:
        match fault.faultCode:
            case Faults.BAD_NAME:
                return LauncherError(
                    f"the stream host does not know the stream {stream!r}: it was added to the catalog "
                    "after the host started; restart the stream host (`millrace down`, `millrace up`)"
                )
            case Faults.SHUTDOWN_STATE:
                return HostUnavailable("the stream host is shutting down")
            case Faults.SPAWN_ERROR | Faults.NO_FILE | Faults.NOT_EXECUTABLE:
                return LauncherError(
                    f"the stream host cannot start {stream}: {fault.faultString}; was the virtual "
                    "environment moved or removed? `make install` makes it anew"
                )
        return LauncherError(f"the stream host refused, about {stream or 'all streams'}: {fault.faultString}")


class _UnixConnection(UnixStreamHTTPConnection):  # type: ignore[misc]
    def connect(self) -> None:
        super().connect()
        self.sock.settimeout(ANSWER_WITHIN)


class _Transport(SupervisorTransport):  # type: ignore[misc]
    """supervisor's transport waits for ever; this one does not."""

    def __init__(self, at: Path | StreamHostAccess) -> None:
        if isinstance(at, StreamHostAccess):
            super().__init__(at.username, at.password, serverurl=f"http://{at.at}")
        else:
            super().__init__(serverurl=f"unix://{at}")

        def connection() -> http.client.HTTPConnection:
            if isinstance(at, StreamHostAccess):
                return http.client.HTTPConnection(str(at.at), timeout=ANSWER_WITHIN)
            made = _UnixConnection("localhost")
            made.socketfile = str(at)
            return made

        self._get_connection: Callable[[], http.client.HTTPConnection] = connection


def _info(fields: dict[str, Any]) -> ProcessInfo:
    state = ProcessState(fields["statename"])
    alive = state in (ProcessState.RUNNING, ProcessState.STARTING, ProcessState.STOPPING)
    changed = fields["start"] if alive else fields["stop"] or fields["start"]
    return ProcessInfo(
        stream=fields["name"],
        state=state,
        pid=fields["pid"] or None,
        since=datetime.fromtimestamp(changed, UTC) if changed else None,
        host_now=datetime.fromtimestamp(fields["now"], UTC),
        exit_code=fields["exitstatus"] if state is ProcessState.EXITED else None,
        note=fields["spawnerr"],
    )
