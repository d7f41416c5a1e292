"""Bluesky's posts from a real websocket server that breaks off, refuses and falls silent, to a real broker."""

from __future__ import annotations

import json
import logging
import signal
import time
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from millrace.feeds.envelope import load_schema
from millrace.feeds.http import Backoff, FetchFailed
from millrace.feeds.jetstream import feed
from millrace.feeds.jetstream.options import JetstreamOptions
from tests.conftest import wait_until
from tests.integration.feed_bench import FeedBench, new_bench
from tests.integration.jetstream_server import Asked, JetstreamServer, as_version_2, post_event
from tests.unit.feeds.shared_data import DIRECTORY, needs_shared_data

pytestmark = pytest.mark.stack

QUICK = Backoff(first=0.02, longest=0.05)
SCHEMA = Draft202012Validator(load_schema("posts"))
SECOND = 1_000_000
V2 = "/xrpc/network.bsky.jetstream.subscribeEvents"


@pytest.fixture
def bench(kafka: str, tmp_path: Path) -> FeedBench:
    return new_bench(kafka, tmp_path)


def posts(bench: FeedBench) -> list[dict[str, Any]]:
    """Everything in the topic; each message is checked against the schema and for its key."""
    found = []
    for key, value in bench.messages(bench.topic):
        message = json.loads(value)
        SCHEMA.validate(message)
        assert key.decode() == message["user_id"]
        found.append(message)
    return found


def _run(*servers: str, **options: Any) -> Any:
    options = {"catch_up": timedelta(days=10_000), **options}
    return partial(feed.run, options=JetstreamOptions(servers=list(servers), **options), backoff=QUICK)


def _recorded() -> list[dict[str, Any]]:
    text = (DIRECTORY / "bluesky_jetstream_v1_152events.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def _expected(events: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """(user, text) of the new posts among events, read by hand."""
    return [
        (event["did"], event["commit"]["record"]["text"])
        for event in events
        if event.get("commit", {}).get("collection") == "app.bsky.feed.post"
        and event["commit"]["operation"] == "create"
    ]


@needs_shared_data
@pytest.mark.parametrize("path", ["/subscribe", V2])
def test_the_recorded_events_arrive_once_although_the_server_breaks_off_in_the_middle(
    bench: FeedBench, path: str
) -> None:
    events = _recorded()

    def serving(asked: Asked) -> Iterator[str | None]:
        for number, event in enumerate(events):
            if asked.number < 2 and number == (60, 110)[asked.number]:
                yield None
            if asked.cursor is None or event["time_us"] >= asked.cursor:
                yield json.dumps(event if path == "/subscribe" else as_version_2(event, number + 1))

    with JetstreamServer(serving) as server, bench.running(_run(server.address + path)):
        wait_until(lambda: len(server.asked) == 3 and bench.count() == 17, 20, "17 posts")
    found = posts(bench)
    assert [(post["user_id"], post["text"]) for post in found] == _expected(events)
    assert sum(len(post["tags"]) for post in found) == 4
    times = [event["time_us"] for event in events]
    assert [asked.cursor for asked in server.asked] == [
        None,
        max(times[:60]) - 5 * SECOND,
        max(times[:110]) - 5 * SECOND,
    ]
    for asked in server.asked:
        filters = {
            name: value
            for name, value in asked.query.items()
            if name not in ("cursor", "maxMessageSizeBytes")
        }
        if path == V2:
            assert (filters, asked.subprotocols) == (
                {"kinds": ["commit"], "collections": ["app.bsky.feed.post"]},
                ["xrpc.v1.json"],
            )
        else:
            assert filters == {"wantedCollections": ["app.bsky.feed.post"]}


def _stream(asked: Asked, first: int, number: int, begins: int) -> Iterator[str | None]:
    """Posts a second apart, as a server has them from a cursor on."""
    for n in range(first, first + number):
        at = begins + n * SECOND
        if asked.cursor is None or at >= asked.cursor:
            yield post_event(n, at)


BEGINS = 1_795_262_400 * SECOND


def test_a_feed_that_is_started_again_begins_a_little_before_the_last_post_in_kafka(bench: FeedBench) -> None:
    with JetstreamServer(lambda asked: _stream(asked, 0, 100, BEGINS)) as server:
        with bench.running(_run(server.address + "/subscribe")):
            wait_until(lambda: bench.count() == 100, 20, "a hundred posts")
        with JetstreamServer(lambda asked: _stream(asked, 50, 100, BEGINS)) as second:
            with bench.running(_run(second.address + "/subscribe", rewind=timedelta(seconds=20))):
                wait_until(lambda: bench.count() == 150, 20, "fifty more")
            assert second.asked[0].cursor == BEGINS + (99 - 20) * SECOND
    assert [post["post_id"].rpartition("/")[2] for post in posts(bench)] == [str(n) for n in range(150)]
    assert [post["posted_at"] for post in posts(bench)] == [BEGINS // 1000 + 1000 * n for n in range(150)]


def test_after_a_gap_beyond_catch_up_it_goes_on_with_what_is_new(bench: FeedBench) -> None:
    for _ in range(2):
        with JetstreamServer(lambda asked: _stream(asked, 0, 3, BEGINS)) as server:
            run = _run(server.address + "/subscribe", catch_up=timedelta(seconds=0))
            with bench.running(run):
                wait_until(lambda: server.asked and bench.count() >= 3, 20, "three posts")
            assert server.asked[0].cursor is None


def test_a_killed_feed_loses_nothing_and_repeats_nothing_that_kafka_knows(bench: FeedBench) -> None:
    began = int(time.time() * SECOND) - 60 * SECOND

    def serving(asked: Asked) -> Iterator[str | None]:
        """A post per 2 ms of the server's time, endlessly, the past minute as fast as it is read."""
        first = 0 if asked.cursor is None else max(0, (asked.cursor - began) // 2000)
        n = first
        while True:
            at = began + n * 2000
            if at > time.time() * SECOND:
                time.sleep(0.001)
            else:
                yield post_event(n, at)
                n += 1

    with JetstreamServer(serving) as server:
        options = {"servers": [server.address + "/subscribe"]}
        bench.catalog_directory({"sky": {"kind": "jetstream", "options": options}})
        for how in (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM):
            reached = bench.count()
            with bench.process("sky") as process:
                wait_until(lambda enough=reached + 3000: bench.count() > enough, 40, "three thousand posts")
                process.send_signal(how)
                assert process.wait(30) == (0 if how == signal.SIGTERM else -how)
    numbers = [int(post["post_id"].rpartition("/")[2]) for post in posts(bench)]
    assert numbers == list(range(len(numbers)))
    assert len(server.asked) == 3


def test_a_server_that_refuses_or_is_not_there_or_falls_silent_is_followed_by_the_next(
    bench: FeedBench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    def silent(asked: Asked) -> Iterator[str | None]:
        yield post_event(1, BEGINS)

    def ending(asked: Asked) -> Iterator[str | None]:
        yield post_event(2, BEGINS)
        yield '{"$type":"error","error":"ConsumerTooSlow","message":"reads too slowly"}'

    with (
        JetstreamServer(silent, refusing={0: HTTPStatus.BAD_REQUEST}) as refusing,
        JetstreamServer(silent) as quiet,
        JetstreamServer(ending) as slow,
        JetstreamServer(lambda asked: iter([post_event(3, BEGINS)])) as good,
    ):
        order = [
            "ws://127.0.0.1:1/subscribe",
            *(s.address + "/subscribe" for s in (refusing, quiet, slow, good)),
        ]
        with bench.running(_run(*order, quiet=timedelta(milliseconds=300))):
            wait_until(lambda: bench.count() == 3, 20, "three posts")
    assert [post["text"] for post in posts(bench)] == ["post 1 #n1", "post 2 #n2", "post 3 #n3"]
    said = caplog.text
    assert "HTTP 400" in said
    assert "CursorTooOld" in said
    assert "nothing came for 0.3 s" in said
    assert "ConsumerTooSlow: reads too slowly" in said
    assert "Connect call failed" in said


def test_what_cannot_be_read_goes_to_the_dead_letters_and_the_rest_goes_on(bench: FeedBench) -> None:
    torn = post_event(2, BEGINS)[:40]
    no_text = post_event(3, BEGINS).replace('"text"', '"test"')

    def serving(asked: Asked) -> Iterator[str | None]:
        yield from (post_event(1, BEGINS), torn, torn, no_text, post_event(4, BEGINS))

    with JetstreamServer(serving) as server, bench.running(_run(server.address + "/subscribe")):
        wait_until(lambda: bench.count() == 2, 20, "two posts")
    assert [post["text"] for post in posts(bench)] == ["post 1 #n1", "post 4 #n4"]
    letters = [(letter["reason"], letter["body"]) for letter in bench.dead_letters()]
    assert letters == [("not_json", torn.encode()), ("missing_field", no_text.encode())]


def test_a_server_whose_clock_runs_ahead_makes_the_next_one_skip_nothing(bench: FeedBench) -> None:
    def serving(asked: Asked) -> Iterator[str | None]:
        if asked.number == 0:
            yield post_event(0, int(time.time() * SECOND) + 7200 * SECOND)
            yield None

    with JetstreamServer(serving) as server, bench.running(_run(server.address + "/subscribe")):
        wait_until(lambda: len(server.asked) == 2, 20, "a second connection")
    (_, second) = server.asked
    assert second.cursor is not None
    assert -1 < time.time() - 5 - second.cursor / SECOND < 20


def test_once_ends_with_the_first_post_or_says_that_none_came(bench: FeedBench) -> None:
    with (
        JetstreamServer(lambda asked: _stream(asked, 0, 100, BEGINS)) as server,
        bench.context(once=True) as context,
    ):
        _run(server.address + "/subscribe")(context)
    assert bench.count() >= 1
    run = partial(
        feed.run,
        options=JetstreamOptions(servers=["ws://127.0.0.1:1/subscribe"]),
        backoff=Backoff(first=0.01, longest=0.01, attempts=3),
    )
    said = r"no post came from 127\.0\.0\.1:1/subscribe"
    with pytest.raises(FetchFailed, match=said), bench.context(once=True) as context:
        run(context)
