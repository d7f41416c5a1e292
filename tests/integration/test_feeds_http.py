"""GBFS systems and the Seoul API behind a real HTTP server, with everything such servers do."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from millrace.catalog import CatalogError
from millrace.feeds.gbfs import feed as gbfs
from millrace.feeds.http import Backoff, FetchFailed
from millrace.feeds.model import Poll, Station
from millrace.feeds.options import GbfsOptions, GbfsSystem, SeoulOptions
from millrace.feeds.seoul import feed as seoul
from tests.conftest import wait_until
from tests.integration.feed_bench import FeedBench, new_bench
from tests.integration.feed_server import Answer, FeedServer, Request, Route, as_json, in_turn

pytestmark = pytest.mark.stack

T = 1_700_000_000
QUICK = Backoff(first=0.02, longest=0.05)
KEY = "5a6b7c8d9eSECRETsecret"


@pytest.fixture
def bench(kafka: str, tmp_path: Path) -> FeedBench:
    return new_bench(kafka, tmp_path)


@pytest.fixture
def server() -> Any:
    with FeedServer() as running:
        yield running


def status(observed_at: int, bikes: int, version: int = 2, **headers: str) -> Answer:
    """A station_status body of one station, in the manner of a version."""
    things = "vehicles" if version == 3 else "bikes"
    when: Any = datetime.fromtimestamp(observed_at, UTC).isoformat() if version == 3 else observed_at
    row = {"station_id": "a", f"num_{things}_available": bikes, "is_renting": 1 if version == 1 else True}
    return as_json({"last_updated": when, "ttl": 0, "data": {"stations": [row]}}, **headers)


def add_system(server: FeedServer, name: str, route: Route, version: int = 2) -> str:
    """Put a system's files under /name/; returns the address of its gbfs.json."""
    feeds = {
        "feeds": [
            {"name": "system_information", "url": f"{server.url}/{name}/system_information.json"},
            {"name": "station_status", "url": f"{server.url}/{name}/station_status.json"},
        ]
    }
    data = feeds if version == 3 else {"nl": feeds, "en": feeds}
    server.routes[f"/{name}/gbfs.json"] = lambda _: as_json({"last_updated": T, "ttl": 0, "data": data})
    texts: Any = [{"text": name, "language": "nl"}] if version == 3 else name
    server.routes[f"/{name}/system_information.json"] = lambda _: as_json(
        {"last_updated": T, "ttl": 0, "data": {"system_id": name, "name": texts, "timezone": "UTC"}}
    )
    server.routes[f"/{name}/station_status.json"] = route
    return f"{server.url}/{name}/gbfs.json"


def options(*urls: str, interval: float = 0.05) -> GbfsOptions:
    """As validated, but with an interval shorter than a real feed may have."""
    systems = [GbfsSystem(url=url) for url in urls]
    return GbfsOptions.model_construct(systems=systems, interval=timedelta(seconds=interval), language="en")


def test_many_systems_of_all_versions_in_one_process(bench: FeedBench, server: FeedServer) -> None:
    urls = [
        add_system(server, f"city{n}", in_turn(status(T + n, n, 1 + n % 3)), version=1 + n % 3)
        for n in range(60)
    ]
    with bench.context(once=True) as context:
        gbfs.run(context, options(*urls))
    found = {page.poll.system_id: page.poll for page in bench.pages()}
    assert len(found) == 60
    for n in range(60):
        poll = found[f"city{n}"]
        assert (poll.observed_at, list(poll.stations)) == (T + n, [Station("a", n, renting=True)])


def test_polls_go_on_and_an_unchanged_one_is_not_sent_again(bench: FeedBench, server: FeedServer) -> None:
    answers = [status(T, 1), status(T, 1), status(T + 60, 2), status(T, 1), status(T + 120, 3)]
    url = add_system(server, "c", in_turn(*answers))
    with bench.running(lambda context: gbfs.run(context, options(url), QUICK)):
        wait_until(lambda: len(server.asked("/c/station_status.json")) > 8, 20, "eight polls")
    assert [(page.poll.observed_at, page.poll.stations[0].bikes) for page in bench.pages()] == [
        (T, 1),
        (T + 60, 2),
        (T + 120, 3),
    ]


def test_an_etag_is_sent_back_and_nothing_changed_is_nothing_sent(
    bench: FeedBench, server: FeedServer
) -> None:
    def route(request: Request) -> Answer:
        if request.headers.get("If-None-Match") == '"v1"':
            return Answer(status=304)
        return status(T, 1, ETag='"v1"')

    url = add_system(server, "c", route)
    with bench.running(lambda context: gbfs.run(context, options(url), QUICK)):
        wait_until(lambda: len(server.asked("/c/station_status.json")) > 4, 20, "four polls")
    first, *later = server.asked("/c/station_status.json")
    assert "If-None-Match" not in first.headers
    assert all(request.headers["If-None-Match"] == '"v1"' for request in later)
    assert len(bench.pages()) == 1
    assert bench.dead_letters() == []


def test_a_ttl_is_respected(bench: FeedBench, server: FeedServer) -> None:
    body = {"last_updated": T, "ttl": 1, "data": {"stations": []}}
    url = add_system(server, "c", in_turn(as_json(body)))
    with bench.running(lambda context: gbfs.run(context, options(url), QUICK)):
        wait_until(lambda: len(server.asked("/c/station_status.json")) >= 3, 20, "three polls")
    times = [request.at for request in server.asked("/c/station_status.json")]
    assert times[1] - times[0] >= 0.98
    assert times[2] - times[1] >= 0.98


def test_troubles_pass_and_unreadable_replies_are_kept_whole(bench: FeedBench, server: FeedServer) -> None:
    garbage = Answer(b"<html>maintenance</html>")
    cut_short = Answer(b'{"last_updated": 1700000000, "data": {"stati', headers={"ETag": '"cut"'})
    url = add_system(
        server,
        "c",
        in_turn(
            Answer(b"oops", 500),
            Answer(b"", 502),
            Answer(b"slow down", 429, {"Retry-After": "1"}),
            garbage,
            garbage,
            cut_short,
            as_json({"error": "quota"}),
            status(T, 1),
            garbage,
            status(T + 60, 2),
        ),
    )
    with bench.running(lambda context: gbfs.run(context, options(url), QUICK)):
        wait_until(lambda: len(server.asked("/c/station_status.json")) > 10, 20, "all answers")
    asked = server.asked("/c/station_status.json")
    assert asked[3].at - asked[2].at >= 0.98, "Retry-After is respected"
    assert "If-None-Match" not in asked[6].headers, "an unreadable reply is not what nothing changed since"
    assert [page.poll.observed_at for page in bench.pages()] == [T, T + 60]
    letters = [(letter["reason"], letter["body"]) for letter in bench.dead_letters()]
    assert letters == [
        ("http_error", b"oops"),
        ("http_error", b"slow down"),
        ("not_json", garbage.body),
        ("not_json", cut_short.body),
        ("missing_field", b'{"error": "quota"}'),
        ("not_json", garbage.body),
    ]
    assert {letter["system_id"] for letter in bench.dead_letters()} == {"c"}


def test_one_broken_system_does_not_hold_the_others(bench: FeedBench, server: FeedServer) -> None:
    urls = [
        f"{server.url}/nothing/gbfs.json",
        "http://127.0.0.1:9/gbfs.json",
        add_system(server, "garbage", in_turn(Answer(b"\xff\xfe"))),
        add_system(server, "good", in_turn(status(T, 1), status(T + 60, 2))),
    ]
    with bench.running(lambda context: gbfs.run(context, options(*urls), QUICK)):
        wait_until(lambda: len(server.asked("/good/station_status.json")) > 3, 20, "polls of the good one")
    assert [page.poll.system_id for page in bench.pages()] == ["good", "good"]
    assert {(letter["reason"], letter["system_id"]) for letter in bench.dead_letters()} == {
        ("http_error", None),
        ("not_json", "garbage"),
    }


def test_two_systems_with_one_id_are_not_mixed(
    bench: FeedBench, server: FeedServer, caplog: pytest.LogCaptureFixture
) -> None:
    first = add_system(server, "c", in_turn(status(T, 1)))
    server.routes["/copy/gbfs.json"] = server.routes["/c/gbfs.json"]
    with bench.context(once=True) as context, pytest.raises(FetchFailed, match="no poll came from"):
        gbfs.run(context, options(first, f"{server.url}/copy/gbfs.json"))
    assert len(bench.pages()) == 1
    assert "their stations would be mixed" in caplog.text


def test_a_configured_id_wins_and_none_at_all_is_the_address(bench: FeedBench, server: FeedServer) -> None:
    named = add_system(server, "c", in_turn(status(T, 1)))
    nameless = add_system(server, "n", in_turn(status(T, 1)))
    feeds = {"feeds": [{"name": "station_status", "url": "station_status.json"}]}
    server.routes["/n/gbfs.json"] = lambda _: as_json({"last_updated": T, "ttl": 0, "data": feeds})
    systems = [GbfsSystem(url=named, system_id="mine"), GbfsSystem(url=nameless)]
    chosen = options().model_copy(update={"systems": systems})
    with bench.context(once=True) as context:
        gbfs.run(context, chosen)
    assert {page.poll.system_id for page in bench.pages()} == {
        "mine",
        f"{server.url.removeprefix('http://')}/n/gbfs.json",
    }


def test_an_endless_body_is_given_up(
    bench: FeedBench, server: FeedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("millrace.feeds.http.MAX_BODY", 100_000)
    url = add_system(server, "c", in_turn(Answer(b" " * 5_000_000)))
    with bench.context(once=True) as context, pytest.raises(FetchFailed):
        gbfs.run(context, options(url))
    (letter,) = bench.dead_letters()
    assert letter["reason"] == "too_large"


def seoul_rows(first: int, last: int) -> list[dict[str, str]]:
    return [
        {"stationId": f"ST-{n}", "parkingBikeTotCnt": str(n % 30), "rackTotCnt": "20", "shared": "10"}
        for n in range(first, last + 1)
    ]


def seoul_page(first: int, last: int) -> Answer:
    rows = seoul_rows(first, last)
    result = {"CODE": "INFO-000", "MESSAGE": "정상 처리되었습니다."}
    return as_json({"rentBikeStatus": {"list_total_count": len(rows), "RESULT": result, "row": rows}})


def serve_seoul(server: FeedServer, total: int, **instead: Answer) -> None:
    """The API with so many stations; `instead` gives other answers by the first row, such as p1001."""
    for first in range(1, 6001, 1000):
        last = first + 999
        answer = (
            seoul_page(first, min(last, total))
            if first <= total
            else as_json({"RESULT": {"CODE": "INFO-200", "MESSAGE": "해당하는 데이터가 없습니다."}})
        )
        path = f"/{KEY}/json/bikeList/{first}/{last}/"
        server.routes[path] = in_turn(instead.get(f"p{first}", answer))


def run_seoul(bench: FeedBench, server: FeedServer, key: str = KEY, now: int = T) -> None:
    with bench.context(once=True, clock=lambda: now + 0.9) as context:
        seoul.run(context, SeoulOptions(url=server.url), Backoff(0.01, 0.02, 3), {"SEOUL_API_KEY": key})


@pytest.mark.parametrize(("total", "requests"), [(2735, 3), (2000, 3), (999, 1)])
def test_seoul_is_asked_page_by_page_until_one_is_not_full(
    bench: FeedBench, server: FeedServer, total: int, requests: int
) -> None:
    serve_seoul(server, total)
    run_seoul(bench, server)
    assert len(server.requests) == requests
    pages = bench.pages()
    assert {(page.poll.observed_at, page.poll.fetched_at) for page in pages} == {(T, T)}
    stations = [station for page in pages for station in page.poll.stations]
    assert [station.station_id for station in stations] == [f"ST-{n}" for n in range(1, total + 1)]
    assert stations[24] == Station("ST-25", 25, docks=0)
    assert [page.page for page in pages] == list(range(len(pages)))


@pytest.mark.parametrize("at_top", [True, False])
def test_errors_of_seoul_are_kept_and_what_was_fetched_is_sent(
    bench: FeedBench, server: FeedServer, at_top: bool
) -> None:
    result = {"RESULT": {"CODE": "ERROR-500", "MESSAGE": "서버 오류입니다."}}
    error = as_json(result if at_top else {"rentBikeStatus": result})
    serve_seoul(server, 2735, p2001=error)
    run_seoul(bench, server)
    (letter,) = bench.dead_letters()
    assert (letter["reason"], letter["body"], letter["system_id"]) == ("error_reply", error.body, "seoul")
    assert "ERROR-500" in letter["detail"]
    assert sum(len(page.poll.stations) for page in bench.pages()) == 2000


def test_a_wrong_key_is_said_so_and_sends_nothing(
    bench: FeedBench, server: FeedServer, caplog: pytest.LogCaptureFixture
) -> None:
    serve_seoul(
        server, 5, p1=as_json({"RESULT": {"CODE": "INFO-100", "MESSAGE": "인증키가 유효하지 않습니다."}})
    )
    with pytest.raises(FetchFailed, match="no poll came from Seoul"):
        run_seoul(bench, server)
    assert bench.pages() == []
    assert "the key is not valid: check SEOUL_API_KEY" in caplog.text


def _everything_raised(error: BaseException | None) -> str:
    texts = []
    while error is not None:
        texts.append(f"{error!r} {vars(error)!r}")
        error = error.__cause__ or error.__context__
    return " ".join(texts)


@pytest.mark.parametrize("trouble", ["refused", "garbage", "429", "500", "404", "redirect loop", "bad row"])
def test_the_key_is_never_shown(
    bench: FeedBench,
    server: FeedServer,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    trouble: str,
) -> None:
    """Not by httpx, which logs URLs at INFO, nor httpcore at DEBUG, nor in errors, nor in what is kept."""
    caplog.set_level(logging.DEBUG)
    for name in ("httpx", "httpcore", "asyncio"):
        logging.getLogger(name).setLevel(logging.DEBUG)
    path = f"/{KEY}/json/bikeList/1/1000/"
    echo = f"cannot serve {path}".encode()
    answers = {
        "garbage": Answer(echo),
        "429": Answer(echo, 429, {"Retry-After": "0"}),
        "500": Answer(echo, 500),
        "404": Answer(echo, 404),
        "redirect loop": Answer(b"", 302, {"Location": path}),
        "bad row": as_json({"rentBikeStatus": {"row": [{"stationId": "a"}, f"see {path}"]}}),
    }
    url = server.url
    if trouble == "refused":
        url = "http://127.0.0.1:9"
    else:
        server.routes[path] = in_turn(answers[trouble])
    raised: BaseException | None = None
    try:
        with bench.context(once=True) as context:
            environment = {"SEOUL_API_KEY": KEY}
            seoul.run(context, SeoulOptions(url=url), Backoff(0.01, 0.02, 3), environment)
    except FetchFailed as error:
        raised = error
    assert raised is not None
    output = capfd.readouterr()
    shown = [caplog.text, *(record.getMessage() for record in caplog.records), output.out, output.err]
    assert "httpcore" in {record.name.split(".")[0] for record in caplog.records}, "they did log"
    assert KEY not in " ".join(shown)
    assert KEY not in _everything_raised(raised)
    letters = bench.dead_letters()
    assert letters or trouble in ("refused", "redirect loop")
    assert KEY not in json.dumps([{**letter, "body": letter["body"].decode()} for letter in letters])


@pytest.mark.parametrize("key", [None, "", "two words", "a/b?c"])
def test_without_a_usable_key_it_says_where_to_get_one(
    bench: FeedBench, key: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    environment = {} if key is None else {"SEOUL_API_KEY": key}
    with (
        bench.context() as context,
        pytest.raises(CatalogError, match=r"SEOUL_API_KEY.*data\.seoul") as caught,
    ):
        seoul.run(context, SeoulOptions(), env=environment)
    assert not key or key not in str(caught.value)


def test_a_stop_in_the_middle_of_a_poll_sends_the_pages_that_were_fetched(
    bench: FeedBench, server: FeedServer
) -> None:
    serve_seoul(server, 2735, p2001=Answer(b"busy", 503, {"Retry-After": "30"}))
    environment = {"SEOUL_API_KEY": KEY}
    path = f"/{KEY}/json/bikeList/2001/3000/"
    with bench.running(lambda context: seoul.run(context, SeoulOptions(url=server.url), QUICK, environment)):
        wait_until(lambda: bool(server.asked(path)), 20, "the third page")
        wait_until(lambda: bool(bench.dead_letters()), 20, "its failure")
        assert bench.pages() == []
    assert [len(page.poll.stations) for page in bench.pages()] == [1000, 1000]


def test_a_poll_in_the_future_is_sent_and_warned_of(
    bench: FeedBench, server: FeedServer, caplog: pytest.LogCaptureFixture
) -> None:
    url = add_system(server, "c", in_turn(status(T + 4000, 1)))
    with bench.context(once=True, clock=lambda: T) as context:
        gbfs.run(context, options(url))
    assert [page.poll for page in bench.pages()] == [Poll("c", T + 4000, T, (Station("a", 1, renting=True),))]
    assert "in the future" in caplog.text
