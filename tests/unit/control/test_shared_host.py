"""Handles and a shared driver over a real unix socket; only the streams in it are stand-ins."""

from __future__ import annotations

import os
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from millrace.control import exit_codes, shared_host
from millrace.control.handle import Handle
from millrace.control.shared_host import CRASHED, Refused, Request, SharedHost
from millrace.control.shared_socket import Lines, clear, shared_socket
from tests.conftest import wait_until

SOON = 5.0


class Stream:
    """A stream that runs until it is told what to end with, or is asked to stop and is not deaf."""

    def __init__(self, request: Request) -> None:
        self.request, self.deaf = request, False
        self.stops: list[str] = []
        self._end = threading.Event()
        self._code: int | Exception = exit_codes.STOPPED

    def run(self) -> int:
        self._end.wait(30)
        if isinstance(self._code, Exception):
            raise self._code
        return self._code

    def ask_to_stop(self, why: str) -> None:
        self.stops.append(why)
        if not self.deaf:
            self._end.set()

    def end(self, code: int | Exception) -> None:
        self._code = code
        self._end.set()


class Engine:
    def __init__(self) -> None:
        self.streams: list[Stream] = []
        self.changed: str | None = None
        self.gone: str | None = None

    def driver_of(self, request: Request) -> Stream:
        if request.revision == 0:
            raise Refused(exit_codes.BAD_CONFIGURATION, "revision 0 cannot be run")
        self.streams.append(Stream(request))
        return self.streams[-1]

    def outdated(self) -> str | None:
        return self.changed

    def lost(self) -> str | None:
        return self.gone


class Running:
    """Something that returns a code, in a thread."""

    def __init__(self, what: Handle | SharedHost) -> None:
        self.what, self.code = what, -1000
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self.code = self.what.run() if isinstance(self.what, Handle) else self.what.serve()

    def ended(self) -> int:
        self._thread.join(SOON)
        assert not self._thread.is_alive(), "it does not end"
        return self.code

    @property
    def runs(self) -> bool:
        return self._thread.is_alive()


class Place:
    """A shared driver, and the handles of its streams."""

    def __init__(self, home: Path) -> None:
        self.path = shared_socket(home, "light")
        self.engine = Engine()
        self.said: list[str] = []
        self.host = self.begin()

    def begin(self, linger: float = 30.0) -> Running:
        host = Running(SharedHost(self.path, self.engine, linger))
        wait_until(self.path.exists, SOON, "the shared driver to listen")
        return host

    def handle(self, stream: str, revision: int = 1) -> Running:
        request = {"stream": stream, "spec": "/s.json", "revision": revision, "pid": 7, "stop_within": 0.1}
        return Running(Handle(self.path, request, lambda: None, self.said.append))

    def start(self, stream: str) -> tuple[Running, Stream]:
        before = len(self.engine.streams)
        handle = self.handle(stream)
        wait_until(lambda: len(self.engine.streams) > before, SOON, f"{stream} to run")
        return handle, self.engine.streams[-1]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setattr(shared_host, "LOOK_EVERY", 0.02)
    monkeypatch.setattr(shared_host, "STOP_MARGIN", 0.2)
    monkeypatch.chdir(tmp_path)  # a relative path is short enough for a socket, wherever pytest works
    found = Place(Path())
    yield found
    if isinstance(found.host.what, SharedHost):
        found.host.what.terminate()


def test_only_this_user_may_open_the_socket(place: Place) -> None:
    assert stat.S_IMODE(place.path.stat().st_mode) == 0o600


@pytest.mark.parametrize("code", [*exit_codes.NOT_RESTARTED, CRASHED])
def test_a_stream_ends_alone_and_its_handle_with_its_code(place: Place, code: int) -> None:
    orders, stream = place.start("orders")
    posts, _ = place.start("posts")
    stream.end(code)
    assert orders.ended() == code
    assert posts.runs
    assert place.host.runs


def test_a_stream_that_raises_or_is_refused_touches_no_other(place: Place) -> None:
    posts, _ = place.start("posts")
    orders, stream = place.start("orders")
    stream.end(RuntimeError("a surprise"))
    assert orders.ended() == CRASHED
    assert place.handle("orders", revision=0).ended() == exit_codes.BAD_CONFIGURATION
    assert place.said == ["RuntimeError: a surprise", "revision 0 cannot be run"]
    assert posts.runs


def test_a_handle_that_is_terminated_stops_its_stream_and_no_other(place: Place) -> None:
    orders, stream = place.start("orders")
    posts, other = place.start("posts")
    assert isinstance(orders.what, Handle)
    orders.what.stop()
    assert orders.ended() == exit_codes.STOPPED
    assert (stream.stops, other.stops) == (["asked to stop by a signal"], [])
    assert posts.runs


def test_a_stream_whose_handle_is_killed_is_stopped(place: Place) -> None:
    with socket.socket(socket.AF_UNIX) as handle:
        handle.connect(str(place.path))
        Lines(handle).send(stream="orders", spec="/s.json", revision=1, pid=os.getpid(), stop_within=1)
        wait_until(lambda: place.engine.streams, SOON, "the stream to run")
        handle.shutdown(socket.SHUT_RDWR)
    wait_until(lambda: place.engine.streams[0].stops == ["its handle is gone"], SOON, "it to be stopped")
    assert place.host.runs


def test_a_stream_begins_again_only_when_its_earlier_life_has_ended(place: Place) -> None:
    first, stream = place.start("orders")
    second = place.handle("orders")
    assert first.ended() == exit_codes.STOPPED
    wait_until(lambda: len(place.engine.streams) == 2, SOON, "the second life")
    assert stream.stops == ["its stream is started again"]
    assert second.runs


def test_before_a_reset_what_is_left_of_a_stream_is_ended(place: Place) -> None:
    clear(place.path, "orders")
    orders, stream = place.start("orders")
    posts, _ = place.start("posts")
    clear(place.path, "orders")
    assert stream.stops == ["it must be down"]
    assert orders.ended() == exit_codes.STOPPED
    assert posts.runs
    clear(Path("nobody.sock"), "orders")


def test_a_stream_that_cannot_be_ended_alone_takes_the_process_with_it(place: Place) -> None:
    orders, stream = place.start("orders")
    stream.deaf = True
    assert isinstance(orders.what, Handle)
    orders.what.stop()
    assert place.host.ended() == CRASHED


def test_without_its_jvm_the_process_ends_when_the_streams_have_said_so(place: Place) -> None:
    orders, stream = place.start("orders")
    place.engine.gone = "the JVM is gone"
    stream.end(CRASHED)
    assert (place.host.ended(), orders.ended()) == (CRASHED, CRASHED)


def test_a_change_of_what_is_shared_begins_the_process_anew_and_no_handle_ends(place: Place) -> None:
    orders, stream = place.start("orders")
    place.engine.changed = "spark_conf has changed"
    posts = place.handle("posts")
    assert place.host.ended() == CRASHED
    assert stream.stops == ["spark_conf has changed"]
    place.engine.changed = None
    place.host = place.begin()
    wait_until(lambda: len(place.engine.streams) == 3, SOON, "both to run in the new process")
    assert {one.request.stream for one in place.engine.streams[1:]} == {"orders", "posts"}
    assert orders.runs
    assert posts.runs


def test_it_ends_when_nobody_needs_it_and_takes_its_socket_along(place: Place) -> None:
    assert isinstance(place.host.what, SharedHost)
    place.host.what.terminate()
    assert place.host.ended() == exit_codes.STOPPED
    place.host = place.begin(linger=0.05)
    assert place.host.ended() == exit_codes.STOPPED
    assert not place.path.exists()


def test_terminated_it_stops_every_stream_first(place: Place) -> None:
    orders, _ = place.start("orders")
    posts, _ = place.start("posts")
    assert isinstance(place.host.what, SharedHost)
    place.host.what.terminate()
    assert (orders.ended(), posts.ended(), place.host.ended()) == (exit_codes.STOPPED,) * 3


def test_a_newer_process_takes_the_name_and_keeps_it(place: Place) -> None:
    older = place.host
    newer = Running(SharedHost(place.path, place.engine))
    _, stream = place.start("orders")
    assert isinstance(older.what, SharedHost)
    older.what.terminate()
    assert older.ended() == exit_codes.STOPPED
    assert place.path.exists()
    assert isinstance(newer.what, SharedHost)
    newer.what.terminate()
    assert newer.ended() == exit_codes.STOPPED
    assert stream.stops


def test_a_handle_ends_as_a_crash_when_its_driver_dies_and_asks_the_host_when_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("millrace.control.handle.ASK_HOST_EVERY", 0.0)
    asked: list[socket.socket] = []
    path = Path("d.sock")

    def begin() -> None:
        if not asked:
            asked.append(socket.socket(socket.AF_UNIX))
            asked[0].bind(str(path))
            asked[0].listen()

    handle = Running(Handle(path, {"stream": "orders"}, begin, lambda _: None))
    wait_until(lambda: asked, SOON, "the handle to ask")
    connection, _ = asked[0].accept()
    lines = Lines(connection)
    assert lines.receive() == {"stream": "orders"}
    lines.send(taken=True)
    lines.close()
    assert handle.ended() == CRASHED
    asked[0].close()


def test_a_message_that_is_none_ends_the_connection_and_nothing_else(place: Place) -> None:
    for said in (b"hello\n", b"[]\n", b'{"stream": "orders"}\n'):
        with socket.socket(socket.AF_UNIX) as stranger:
            stranger.connect(str(place.path))
            stranger.sendall(said)
            assert stranger.recv(10) == b""
    assert place.host.runs
