"""The bridge from a TCP socket, against a real server and a real broker."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from millrace.feeds.envelope import load_schema
from millrace.feeds.http import Backoff, FetchFailed
from millrace.feeds.line_splitter import MAX_LINE
from millrace.feeds.socket import feed
from millrace.feeds.socket.options import SocketOptions
from tests.conftest import wait_until
from tests.integration.feed_bench import FeedBench, new_bench

pytestmark = pytest.mark.stack

QUICK = Backoff(first=0.02, longest=0.05)
SCHEMA = Draft202012Validator(load_schema("posts"))


@pytest.fixture
def bench(kafka: str, tmp_path: Path) -> FeedBench:
    return new_bench(kafka, tmp_path)


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(10)
        yield listening


def _run(server: socket.socket, backoff: Backoff = QUICK, **options: Any) -> Any:
    port = server.getsockname()[1]
    return partial(feed.run, options=SocketOptions(address=f"127.0.0.1:{port}", **options), backoff=backoff)


def test_every_line_arrives_as_it_is_over_several_connections(
    bench: FeedBench, server: socket.socket
) -> None:
    with bench.running(_run(server)):
        with server.accept()[0] as connection:
            connection.sendall("first line\r\n\n  두 번째 \n".encode())
            connection.sendall(b"\xff broken\nlast, without an end")
        with server.accept()[0] as connection:
            connection.sendall(b"from the second connection\n")
            wait_until(lambda: bench.count() == 6, 20, "six lines")
    assert [value.decode() for value in bench.values()] == [
        "first line",
        "",
        "  두 번째 ",
        "\ufffd broken",
        "last, without an end",
        "from the second connection",
    ]


def test_what_had_arrived_when_the_feed_was_stopped_is_in_kafka(
    bench: FeedBench, server: socket.socket
) -> None:
    lines = [f"line {number} {'x' * 100}".encode() for number in range(20_000)]
    with ExitStack() as left_open, bench.running(_run(server)):
        connection = left_open.enter_context(server.accept()[0])
        connection.sendall(b"\n".join(lines) + b"\n")
        # Stopped at once, with much of it still in the buffers of the socket, which stays open.
    assert bench.values() == lines


def test_a_server_that_never_pauses_does_not_keep_the_feed_from_stopping(
    bench: FeedBench, server: socket.socket
) -> None:
    def flood() -> None:
        with suppress(OSError), server.accept()[0] as connection:
            while True:
                connection.sendall(b"flood\n" * 1000)

    thread = threading.Thread(target=flood)
    thread.start()
    with bench.running(_run(server)):
        wait_until(lambda: bench.count() > 1000, 20, "a thousand lines")
        asked = time.monotonic()
    assert time.monotonic() - asked < 15
    thread.join(10)
    assert not thread.is_alive()
    assert set(bench.values()) <= {b"flood", b"floo", b"flo", b"fl", b"f"}, "the last may be cut"


def test_a_line_is_a_post(bench: FeedBench, server: socket.socket) -> None:
    began = int(time.time() * 1000)
    with bench.running(_run(server, form="post", user_id="me")), server.accept()[0] as connection:
        connection.sendall("Hello #Seoul #서울\n \nagain #seoul\n".encode())
        wait_until(lambda: bench.count() == 2, 20, "two posts")
    posts = []
    for key, value in bench.messages(bench.topic):
        assert key == b"me"
        SCHEMA.validate(json.loads(value))
        posts.append(json.loads(value))
    assert [(post["text"], post["tags"]) for post in posts] == [
        ("Hello #Seoul #서울", ["#seoul", "#서울"]),
        ("again #seoul", ["#seoul"]),
    ]
    assert {post["source"] for post in posts} == {"socket"}
    assert len({post["post_id"] for post in posts}) == 2
    assert all(began <= post["posted_at"] <= time.time() * 1000 for post in posts)


def test_a_line_without_end_goes_to_the_dead_letters(bench: FeedBench, server: socket.socket) -> None:
    with bench.running(_run(server)), server.accept()[0] as connection:
        connection.sendall(b"before\n" + b"x" * (3 * MAX_LINE) + b"\nafter\n")
        wait_until(lambda: bench.count() == 2, 20, "two lines")
    assert bench.values() == [b"before", b"after"]
    (letter,) = bench.dead_letters()
    assert (letter["reason"], letter["body"]) == ("too_large", b"x" * MAX_LINE)


def test_the_bridge_waits_for_a_server_that_is_not_there_yet(bench: FeedBench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        address = reserved.getsockname()
    options = SocketOptions(address=f"127.0.0.1:{address[1]}")
    with (
        bench.running(partial(feed.run, options=options, backoff=QUICK)),
        socket.create_server(address) as server,
    ):
        server.settimeout(10)
        with server.accept()[0] as connection:
            connection.sendall(b"late\n")
            wait_until(lambda: bench.count() == 1, 20, "a line")
    assert bench.values() == [b"late"]


def test_once_ends_with_the_first_connection_or_says_that_nobody_is_there(
    bench: FeedBench, server: socket.socket
) -> None:
    run = _run(server, Backoff(first=0.02, longest=0.02, attempts=3))

    def serve() -> None:
        with server.accept()[0] as connection:
            connection.sendall(b"only\nthis")

    thread = threading.Thread(target=serve)
    thread.start()
    with bench.context(once=True) as context:
        run(context)
    thread.join()
    assert bench.values() == [b"only", b"this"]
    server.close()
    with pytest.raises(FetchFailed, match="Connection refused"), bench.context(once=True) as context:
        run(context)
