"""The market and the replay of a file of orders, against a real broker."""

from __future__ import annotations

import signal
import time
from itertools import islice
from pathlib import Path

import pytest

from millrace.feeds.interrupted import Interrupted
from millrace.feeds.orders import feed, replay
from millrace.feeds.orders.book import write_book
from millrace.feeds.orders.line import line_time, order_line, time_of_line
from millrace.feeds.orders.market import orders
from millrace.feeds.orders.options import OrdersOptions, OrdersReplayOptions
from tests.conftest import wait_until
from tests.integration.feed_bench import FeedBench, new_bench

pytestmark = pytest.mark.stack

NOON = 1_795_262_400  # 2026-11-21 12:00 UTC


@pytest.fixture
def bench(kafka: str, tmp_path: Path) -> FeedBench:
    return new_bench(kafka, tmp_path)


def _once(bench: FeedBench, now: float, **options: object) -> None:
    with bench.context(once=True, clock=lambda: now) as context:
        feed.run(context, OrdersOptions.model_validate(options))


def _lines(seed: int, first: int, number: int, moment: int) -> list[bytes]:
    return [order_line(order, line_time(moment)) for order in islice(orders(seed, first), number)]


def test_the_ids_go_on_after_the_last_in_kafka_whatever_else_is_there(bench: FeedBench) -> None:
    _once(bench, NOON + 0.9, seed=5, rate=3)
    _once(bench, NOON + 7, seed=5, rate=2)
    with bench.context() as context:
        for junk in (b"", b"\xff\xfe", b"no order at all", b"2016-03-22 20:25:28,x,80,EPE,710,51.00,B"):
            context.sink.send(junk)
    _once(bench, NOON + 9, seed=5, rate=1)
    values = bench.values()
    assert values[:5] == [*_lines(5, 1, 3, NOON), *_lines(5, 4, 2, NOON + 7)]
    assert values[-1:] == _lines(5, 6, 1, NOON + 9)
    assert len(values) == 3 + 2 + 4 + 1


def test_the_total_is_that_of_all_starts_together(bench: FeedBench) -> None:
    _once(bench, NOON, rate=4, total=6)
    _once(bench, NOON, rate=4, total=6)
    _once(bench, NOON, rate=4, total=6)
    assert bench.values() == _lines(1, 1, 6, NOON)


def test_an_empty_topic_gets_a_past_once(bench: FeedBench) -> None:
    _once(bench, NOON, rate=2, history="10s")
    _once(bench, NOON + 60, rate=2, history="10s")
    ids = [int(line.split(b",")[1]) for line in bench.values()]
    times = [time_of_line(line) for line in bench.values()]
    assert ids == list(range(1, 20 + 2 + 2 + 1))
    assert times[:20] == [NOON - 10 + number // 2 for number in range(20)]
    assert times[20:] == [NOON, NOON, NOON + 60, NOON + 60]


def test_a_feed_that_is_killed_again_and_again_leaves_no_gap_and_no_repeat(bench: FeedBench) -> None:
    bench.catalog_directory({"market": {"kind": "orders", "options": {"seed": 9, "rate": 5000}}})
    began, reached = int(time.time()), 0
    for how in (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM):
        with bench.process("market") as process:
            wait_until(lambda enough=reached + 2000: bench.count() > enough, 30, "some thousand orders")
            process.send_signal(how)
            assert process.wait(30) == (0 if how == signal.SIGTERM else -how)
        reached = bench.count()
    values = bench.values()
    times = [time_of_line(value) for value in values]
    assert all(began <= (moment or 0) <= time.time() for moment in times)
    assert [value[19:] for value in values] == [order_line(o, b"") for o in islice(orders(9), len(values))]
    assert len(values) > 6000


BOOK = [
    b"2016-03-22 20:25:28,1,80,EPE,710,51.00,B",
    b"",
    b"2016-03-22 20:25:28,2,70,NFLX",
    b"\xff\xfe\x00not utf-8",
    b"2016-03-22 20:25:30,3,70,NFLX,158,8.00,X",
    b"2099-01-01 00:00:00,4,1,A,1,1.00,S",
    "2016-03-22 20:25:29,5,1,Ä,1,1.00,S".encode(),
]


def test_a_replay_sends_every_line_as_it_is(bench: FeedBench) -> None:
    path = bench.directory / "orders.txt"
    path.write_bytes(b"\r\n".join(BOOK))
    with bench.context() as context:
        replay.run(context, OrdersReplayOptions(file=str(path), fast=True))
    assert bench.values() == BOOK


def test_a_replay_moved_to_now_moves_what_has_a_time(bench: FeedBench) -> None:
    path = bench.directory / "orders.txt"
    path.write_bytes(b"\n".join([*BOOK[:5], BOOK[6]]))
    with bench.context(clock=lambda: float(NOON)) as context:
        replay.run(context, OrdersReplayOptions(file=str(path), fast=True, times="now"))
    now, before, earlier = (line_time(NOON - back) for back in (0, 1, 2))
    assert bench.values() == [
        earlier + BOOK[0][19:],
        b"",
        earlier + BOOK[2][19:],
        BOOK[3],
        now + BOOK[4][19:],
        before + BOOK[6][19:],
    ]


def test_a_replay_that_is_stopped_or_killed_goes_on_with_the_next_line(bench: FeedBench) -> None:
    path = bench.directory / "orders.txt"
    write_book(path, seed=2, lines=5000)
    with (
        pytest.raises(Interrupted, match=r"stopped after line \d+ of .*goes on with the next"),
        bench.running(lambda context: replay.run(context, OrdersReplayOptions(file=str(path), rate=500))),
    ):
        wait_until(lambda: bench.count() >= 100, 20, "a hundred lines")
    stopped = bench.count()
    assert 100 <= stopped < 5000
    options = {"file": str(path), "rate": 2000}
    bench.catalog_directory({"book": {"kind": "orders_replay", "options": options}})
    with bench.process("book") as process:
        wait_until(lambda: bench.count() > stopped + 200, 30, "two hundred more lines")
        process.kill()
    assert stopped < bench.count() < 5000
    other = bench.directory / "other.txt"
    other.write_bytes(b"another file")
    for file in (other, path, path, other):
        with bench.context() as context:
            replay.run(context, OrdersReplayOptions(file=str(file), fast=True))
    values = bench.values()
    assert values.count(b"another file") == 1
    values.remove(b"another file")
    assert values == path.read_bytes().splitlines()
    with bench.context() as context:
        replay.run(context, OrdersReplayOptions(file=str(other), fast=True, again=True))
    assert bench.values().count(b"another file") == 2


def test_a_replay_keeps_to_its_rate(bench: FeedBench) -> None:
    path = bench.directory / "orders.txt"
    write_book(path, seed=2, lines=41)
    with bench.context() as context:
        began = time.monotonic()
        replay.run(context, OrdersReplayOptions(file=str(path), rate=20))
        assert time.monotonic() - began == pytest.approx(2.0, abs=0.5)
    assert bench.values() == path.read_bytes().splitlines()


def test_a_long_file_is_replayed_in_order(bench: FeedBench) -> None:
    path = bench.directory / "orders.txt"
    write_book(path, seed=1, lines=100_000)
    with bench.context() as context:
        replay.run(context, OrdersReplayOptions(file=str(path), fast=True))
    assert bench.values() == path.read_bytes().splitlines()
