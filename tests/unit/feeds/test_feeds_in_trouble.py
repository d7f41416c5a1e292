"""What servers do to feeds that poll them, without a socket and without Kafka: time and answers are made up."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from millrace.feeds import http, replay
from millrace.feeds.compressed import RecordedError
from millrace.feeds.context import FeedContext
from millrace.feeds.envelope import EndOfInput, Page, decode
from millrace.feeds.gbfs import feed as gbfs
from millrace.feeds.http import Backoff, FetchFailed
from millrace.feeds.model import Rejection
from millrace.feeds.options import GbfsOptions, GbfsSystem, ReplayOptions, SeoulOptions
from millrace.feeds.seoul import feed as seoul
from millrace.feeds.stop import Stop

T = 1_700_000_000
KEY = "5a6b7c8d9eSECRETsecret"
QUICK = Backoff(first=0.001, longest=0.001)
HOUR = 3600

Answer = Callable[[httpx.Request], httpx.Response]


class Recorder:
    """Takes what a feed sends."""

    def __init__(self) -> None:
        self.pages: list[Page] = []
        self.letters: list[Rejection] = []

    def send(self, value: bytes, key: bytes, *, on_stored: Callable[[], None] | None = None) -> None:
        page = decode(value)
        assert not isinstance(page, EndOfInput)
        self.pages.append(page)
        if on_stored is not None:
            on_stored()

    def dead_letter(self, rejection: Rejection, *, system_id: str | None, fetched_at: int) -> None:
        self.letters.append(rejection)


class World:
    """The servers, by path, and a clock that only they move. An answer after the last one stops the feed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = float(T)
        self.sink = Recorder()
        self.stop = Stop()
        self.answers: dict[str, list[httpx.Response | Exception]] = {}
        self.asked: list[httpx.Request] = []
        self.takes = 0.0
        transport = httpx.MockTransport(self._answer)
        for module in (gbfs, seoul):
            monkeypatch.setattr(module, "new_client", lambda: httpx.AsyncClient(transport=transport))

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.now += self.takes
        self.asked.append(request)
        left = self.answers[request.url.path]
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    def run(self, feed: Callable[[FeedContext], None], polls: int | None = None) -> FeedContext:
        """Run a feed for so many polls, or once."""
        context = FeedContext(
            "f", "", "polls", Path(), self.sink, self.stop, once=polls is None, clock=lambda: self.now  # type: ignore[arg-type]
        )  # fmt: skip
        if polls is not None:
            send = self.sink.send

            def count(*args: Any, **more: Any) -> None:
                send(*args, **more)
                if len(self.sink.pages) >= polls:
                    self.stop.set()

            self.sink.send = count  # type: ignore[method-assign]
        feed(context)
        return context


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def reply(body: object, status: int = 200, **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return httpx.Response(
        status, headers={k.replace("_", "-"): v for k, v in headers.items()}, content=content
    )


def poll(at: int) -> httpx.Response:
    return reply(
        {"last_updated": at, "ttl": 0, "data": {"stations": [{"station_id": "a", "num_bikes_available": 1}]}}
    )


def discovery(url: str) -> httpx.Response:
    return reply({"data": {"feeds": [{"name": "station_status", "url": url}]}})


def run_gbfs(context: FeedContext) -> None:
    systems = [GbfsSystem(url="http://city/gbfs.json", system_id="city")]
    options = GbfsOptions.model_construct(systems=systems, interval=timedelta(0), language="en")
    gbfs.run(context, options, QUICK)


def run_seoul(context: FeedContext) -> None:
    seoul.run(context, SeoulOptions(), QUICK, {"SEOUL_API_KEY": KEY})


def seoul_page(first: int, last: int) -> httpx.Response:
    rows = [{"stationId": f"ST-{n}", "parkingBikeTotCnt": "3"} for n in range(first, last + 1)]
    return reply({"rentBikeStatus": {"RESULT": {"CODE": "INFO-000"}, "row": rows}})


def rows_from(first: int) -> str:
    return f"/{KEY}/json/bikeList/{first}/{first + 999}/"


def test_an_etag_that_cannot_be_sent_back_is_not(world: World) -> None:
    strange = poll(T)
    strange.headers = httpx.Headers([(b"ETag", '"é"'.encode()), (b"Last-Modified", b"yesterday")])
    world.answers = {"/gbfs.json": [discovery("status")], "/status": [strange, poll(T + 60)]}
    world.run(run_gbfs, polls=2)
    second = world.asked[2].headers
    assert "If-None-Match" not in second
    assert second["If-Modified-Since"] == "yesterday"


def test_an_answer_that_never_ends_is_tried_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "WHOLE_ANSWER_WITHIN", 0.001)

    class Dripping(httpx.AsyncByteStream):
        async def __aiter__(self) -> Any:
            import asyncio

            while True:
                await asyncio.sleep(0.0001)
                yield b" "

    async def drip(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=Dripping())

    transport = httpx.MockTransport(drip)
    monkeypatch.setattr(gbfs, "new_client", lambda: httpx.AsyncClient(transport=transport))
    with pytest.raises(FetchFailed, match="no poll came from city"):
        world.run(lambda context: gbfs.run(context, _city(), Backoff(0.001, 0.001, attempts=2)))


def _city() -> GbfsOptions:
    return GbfsOptions(systems=[GbfsSystem(url="http://city/gbfs.json", system_id="city")])


@pytest.mark.parametrize("old", ["http://old/status", "http://city:99999/status"])
def test_a_system_that_has_moved_is_found_again(
    world: World, monkeypatch: pytest.MonkeyPatch, old: str
) -> None:
    monkeypatch.setattr(gbfs, "_MOVED_AFTER", 0.01)
    monkeypatch.setattr(gbfs, "_REFUSED_WAIT", 0.0)
    world.answers = {
        "/gbfs.json": [discovery(old), discovery("http://city/moved")],
        "/status": [httpx.ConnectError("no such host")],
        "/moved": [poll(T)],
    }
    world.run(run_gbfs, polls=1)


@pytest.mark.parametrize("answer", [reply(b"", 503, Retry_After="3000"), reply(b"<html>"), reply(b"", 404)])
def test_a_gbfs_json_that_is_gone_does_not_hold_a_system_that_answers(
    world: World, answer: httpx.Response
) -> None:
    """It is read again once a day; three days go by here."""
    world.takes = 12 * HOUR
    world.answers = {
        "/gbfs.json": [discovery("status"), answer],
        "/status": [poll(T + n * 12 * HOUR) for n in range(7)],
    }
    world.run(run_gbfs, polls=7)
    assert [request.url.path for request in world.asked].count("/gbfs.json") > 1


def test_a_replay_of_something_else_is_no_recording_that_has_come_to_its_end(
    world: World, tmp_path: Path
) -> None:
    (tmp_path / "posts.jsonl").write_text('{"did": "a"}\n' * 3)
    options = ReplayOptions(files=[str(tmp_path / "posts.jsonl")])
    with pytest.raises(RecordedError, match="not one poll could be read, 3 line"):
        world.run(lambda context: replay.run(context, options))
    assert [letter.reason for letter in world.sink.letters] == ["missing_field"] * 3
    assert "posts.jsonl:1: " in world.sink.letters[0].detail


def test_seoul_is_dated_by_when_it_answered_not_by_when_it_was_first_asked(world: World) -> None:
    world.takes = 600.0
    world.answers = {rows_from(1): [reply(b"", 503)] * 6 + [seoul_page(1, 10)]}
    world.run(run_seoul)
    (page,) = world.sink.pages
    assert page.poll.observed_at == page.poll.fetched_at == T + 7 * 600


def test_pages_of_seoul_do_not_grow_old_while_a_later_one_is_waited_for(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.answers = {
        rows_from(1): [seoul_page(1, 1000)],
        rows_from(1001): [reply(b"", 503, Retry_After="3000")],
    }
    world.run(run_seoul)
    (page,) = world.sink.pages
    assert (page.poll.observed_at, len(page.poll.stations)) == (T, 1000)
    assert "asks again in 3000 s" in caplog.text, "a Retry-After is respected"


@pytest.mark.parametrize(
    "answer",
    [
        *(reply(f"{'<' * indent}/{KEY}/json/".encode()) for indent in range(30, 60, 3)),
        reply({"RESULT": {"CODE": "ERROR-300", "MESSAGE": "x" * 190 + KEY}}),
        reply({"x" * 150 + KEY: 1}),
        reply(f"cannot serve {KEY}".encode("utf-16")),
        httpx.Response(404, extensions={"reason_phrase": f"no {KEY} here".encode()}),
        reply(b" " * 90 + KEY.encode() + b" " * 90),
    ],
)
def test_no_part_of_the_key_is_shown_where_something_is_cut(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    answer: httpx.Response,
) -> None:
    caplog.set_level(logging.DEBUG, logger="millrace")
    monkeypatch.setattr(http, "MAX_BODY", 150)
    monkeypatch.setattr(http, "KEPT_OF_TOO_LARGE", 100)
    transport = httpx.MockTransport(lambda _: answer)
    monkeypatch.setattr(seoul, "new_client", lambda: httpx.AsyncClient(transport=transport))
    context = FeedContext("f", "", "polls", Path(), world.sink, Stop(), once=True)  # type: ignore[arg-type]
    with pytest.raises(FetchFailed):
        run_seoul(context)
    shown = [caplog.text, repr(context.watch.seen())]
    shown += [f"{letter.detail} {letter.body.decode('utf-8', 'replace')}" for letter in world.sink.letters]
    shown += [letter.body.decode("utf-16", "replace") for letter in world.sink.letters]
    assert KEY[:4] not in " ".join(shown)
