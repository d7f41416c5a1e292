"""Several streams in one process: each begins with a connection of its handle and ends with it.

Nothing here knows Spark. A stream that fails, is fenced or is stopped touches no other; what cannot be ended
alone (a thread that hangs, a JVM that is gone, settings or code that have changed) ends the process, and the
handles have it started again.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from pydantic import BaseModel, ConfigDict, ValidationError

from millrace.control import exit_codes
from millrace.control.shared_socket import Lines

log = logging.getLogger(__name__)

CRASHED = 1
LOOK_EVERY = 0.25
REQUEST_WITHIN = 10.0
"""Seconds that a handle may take to say what it wants."""
LINGER = 30.0
"""Seconds without a stream until the process ends: a stream that is redeployed finds its JVM warm."""
STOP_MARGIN = 15.0
"""Seconds beyond a stream's own `stop_within` after which the process is ended to end it."""
LAST_WORDS = 10.0
"""Seconds that streams get to notice that their JVM is gone, and to say so."""


class Request(BaseModel):
    """What a handle asks for: to run a stream. `pid` is the handle's, `stop_within` in seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    stream: str
    spec: Path
    revision: int
    pid: int
    stop_within: float


class Refused(Exception):
    """The stream cannot be run; says why, and with which exit code its handle ends."""

    def __init__(self, exit_code: int, why: str) -> None:
        super().__init__(why)
        self.exit_code = exit_code


class Driver(Protocol):
    """A stream that is run: `run` returns its exit code, in its own thread; `ask_to_stop` is from any thread."""

    def run(self) -> int: ...

    def ask_to_stop(self, why: str) -> None: ...


class Engine(Protocol):
    """What the streams of the process share."""

    def driver_of(self, request: Request) -> Driver:
        """Raises Refused."""
        ...

    def outdated(self) -> str | None:
        """Why a stream that begins now needs a new process, or None."""
        ...

    def lost(self) -> str | None:
        """Why no stream can go on in this process, or None."""
        ...


@dataclass
class Member:
    """A stream in this process."""

    request: Request
    lines: Lines
    stop_by: float | None = None
    """By the monotonic clock; None: not asked to stop."""
    _done: bool = False
    _driver: Driver | None = None
    _why: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, driver: Driver) -> None:
        with self._lock:
            self._driver = driver
            why = self._why
        if why:
            driver.ask_to_stop(why)

    def stop(self, why: str) -> None:
        """The first reason counts, and so does its time."""
        with self._lock:
            if self._done or self.stop_by is not None:
                return
            self.stop_by = time.monotonic() + self.request.stop_within + STOP_MARGIN
            self._why, driver = why, self._driver
        if driver is not None:
            driver.ask_to_stop(why)

    def done(self) -> None:
        """It has ended: nobody is to be asked to stop any more."""
        with self._lock:
            self._done = True


class SharedHost:
    """Runs the streams whose handles connect to `path`, from `serve()` to the exit code of the process."""

    def __init__(self, path: Path, engine: Engine, linger: float = LINGER) -> None:
        self._path, self._engine, self._linger = path, engine, linger
        self._members: dict[str, Member] = {}
        self._changed = threading.Condition()
        self._last_seen = time.monotonic()
        self._again = ""
        self._terminated = threading.Event()
        self._lost_at: float | None = None

    def terminate(self) -> None:
        """From a signal: stop every stream after its micro-batch, then end."""
        self._terminated.set()

    def serve(self) -> int:
        """Raises OSError when it cannot listen."""
        with listening(self._path) as listener:
            while (code := self._look()) is None:
                try:
                    connection, _ = listener.accept()
                except TimeoutError:
                    continue
                _thread("handle", self._attend, connection)
        return code

    def _look(self) -> int | None:
        """The exit code when it is time to end."""
        now = time.monotonic()
        with self._changed:
            members = list(self._members.values())
            if members:
                self._last_seen = now
        lost = self._engine.lost()
        if lost is not None:
            if self._lost_at is None:
                log.error("%s", lost)
                self._lost_at = now
            return CRASHED if not members or now - self._lost_at > LAST_WORDS else None
        for member in members:
            if self._terminated.is_set():
                member.stop("the process of the shared driver is to end")
            if member.stop_by is not None and now > member.stop_by:
                log.error(
                    "%s does not end though it was asked to: the process ends, with all streams in it",
                    member.request.stream,
                )
                return CRASHED
        if members:
            return None
        if self._again:
            return CRASHED
        idle = now - self._last_seen > self._linger
        return exit_codes.STOPPED if idle or self._terminated.is_set() else None

    def _attend(self, connection: socket.socket) -> None:
        """One handle, from its request to the end of the connection."""
        connection.settimeout(REQUEST_WITHIN)
        lines = Lines(connection)
        with connection:
            first = lines.receive()
            if first is not None and "clear" in first:
                with self._changed:
                    self._await_end(str(first["clear"]), "it must be down")
                lines.close()
                return
            self._notice_changes()  # first: a handle of newer code may ask in other words
            try:
                request = Request.model_validate(first)
            except ValidationError:
                lines.close()
                return
            connection.settimeout(None)
            member = Member(request, lines)
            if not self._enter(member):
                lines.close()
                return
            lines.send(taken=True)
            _thread(request.stream, self._run, member)
            while (message := lines.receive()) is not None:
                if "stop" in message:
                    member.stop(str(message["stop"]))
            member.stop("its handle is gone")

    def _enter(self, member: Member) -> bool:
        """Wait until an earlier life of the stream has ended. False when the handle has to ask a new process."""
        name = member.request.stream
        with self._changed:
            self._await_end(name, "its stream is started again")
            if self._again or self._terminated.is_set() or self._engine.lost() is not None:
                return False
            self._members[name] = member
        return True

    def _notice_changes(self) -> None:
        """Stop all streams, so that they begin in a new process, when this one is not what it would be now."""
        outdated = None if self._again else self._engine.outdated()
        if outdated is None:
            return
        with self._changed:
            log.warning("begins anew, with every stream in it: %s", outdated)
            self._again = outdated
            for member in self._members.values():
                member.stop(outdated)

    def _await_end(self, name: str, why: str) -> None:
        """Holding the lock, which is free meanwhile. Bounded by `_look`, which ends the process otherwise."""
        while (earlier := self._members.get(name)) is not None:
            earlier.stop(why)
            self._changed.wait()

    def _run(self, member: Member) -> None:
        code, words = CRASHED, ""
        try:
            driver = self._engine.driver_of(member.request)
            member.begin(driver)
            code = driver.run()
        except Refused as refused:
            code, words = refused.exit_code, str(refused)
            log.error("%s: %s", member.request.stream, words)
        except Exception as error:
            words = f"{type(error).__name__}: {error}"
            log.exception("%s failed", member.request.stream)
        finally:
            member.done()
            with self._changed:
                del self._members[member.request.stream]
                self._last_seen = time.monotonic()
                again = self._again if code == exit_codes.STOPPED else ""
                self._changed.notify_all()
            if again:
                member.lines.send(again=f"the shared driver begins anew: {again}")
            else:
                member.lines.send(ended=code, words=words or exit_codes.in_words(code))
            member.lines.close()


def _thread(name: str, target: Callable[..., None], *arguments: object) -> None:
    threading.Thread(target=target, args=arguments, name=name, daemon=True).start()


@contextmanager
def listening(path: Path) -> Iterator[socket.socket]:
    """A socket that only this user may open, in the place of whatever was there.

    A process of an earlier stream host that still holds the name goes on without it until its streams are
    fenced by those that begin here.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        path.unlink(missing_ok=True)
        before = os.umask(0o177)
        try:
            listener.bind(str(path))
        finally:
            os.umask(before)
        own = path.stat().st_ino
        listener.listen(64)
        listener.settimeout(LOOK_EVERY)
        try:
            yield listener
        finally:
            with contextlib.suppress(OSError):
                if path.stat().st_ino == own:
                    path.unlink()
