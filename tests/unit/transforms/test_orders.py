"""The order step against a plain recount, under repeats, late orders, garbage and any micro-batch boundary."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from spark_apps.runtime.keyed_fold import RECORDS
from spark_apps.transforms.order_fold import END_OF_INPUT, OrderFold, amount_text
from spark_apps.transforms.orders import OrderState, top_stocks
from tests.oracles.orders import Book, Key, Row, book_of

START = int(datetime(2026, 3, 1, 22, 30, tzinfo=UTC).timestamp())
FOLD = OrderFold(late_by=timedelta(hours=1))


def line(at: int, order_id: int, client: int, symbol: str, quantity: int, price: str, side: str) -> bytes:
    time = f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S}"
    return f"{time},{order_id},{client},{symbol},{quantity},{price},{side}".encode()


def records(lines: list[tuple[bytes, int]], first: int = 0, key: bytes | None = None) -> pl.DataFrame:
    return pl.DataFrame(
        [(key, value, 0, first + number, arrived) for number, (value, arrived) in enumerate(lines)],
        schema=RECORDS,
        orient="row",
    )


class Folding:
    """A stream: batches in, everything that came out."""

    def __init__(self, fold: OrderFold = FOLD) -> None:
        self.fold, self.state = fold, fold.empty()
        self.rows: dict[Key, Row] = {}
        self.rejected: list[tuple[int, str]] = []
        self.buys = self.sells = 0

    def take(self, lines: list[tuple[bytes, int]], first: int) -> None:
        done = self.fold.fold(self.state, records(lines, first))
        half = len(lines) // 2
        portions = [records(lines[:half], first), records(lines[half:], first + half)]
        prepared = pl.concat(self.fold.prepare(portion) for portion in portions)
        assert self.fold.pack(self.fold.fold(self.state, prepared).state) == self.fold.pack(done.state)
        self.state = self.fold.unpack(self.fold.pack(done.state))
        assert self.fold.pack(self.state) == self.fold.pack(done.state)
        for symbol, start, _, *sums in done.facts.iter_rows():
            self.rows[symbol, int(start.timestamp()) // 3600] = tuple(sums)  # type: ignore[assignment]
        self.rejected += [(first + row, reason) for row, reason, _ in done.rejected.iter_rows()]
        messages = dict(done.messages)
        assert list(messages) == ["BUYS", "SELLS", "TOP5CLIENTS", "TOP5STOCKS"]
        self.buys += int(messages["BUYS"].split(":")[1].split(",")[0])
        self.sells += int(messages["SELLS"].split(":")[1].split(",")[0])


def same(stream: Folding, book: Book) -> None:
    assert stream.rows == book.rows
    reasons = {"future", "too_late", "conflicting_id"}
    told = [(row, reason if reason in reasons else "malformed") for row, reason in stream.rejected]
    assert sorted(told) == sorted(book.rejected)
    assert (stream.buys, stream.sells) == (book.buys, book.sells)
    assert stream.state.top.rows() == book.top_clients()
    assert dict(stream.state.clients.rows()) == dict(book.clients)
    assert top_stocks(stream.state).rows() == book.top_stocks()


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[tuple[bytes, int]], list[int]]:
    lines: list[tuple[bytes, int]] = []
    at = START
    for _ in range(draw(st.integers(1, 40))):
        at += draw(st.sampled_from([0, 1, 59, 600, 1800, 3599, 3600]))
        when = at - draw(st.sampled_from([0, 0, 0, 1, 600, 3599, 3600, 3601, 7200, -301, -300]))
        good = line(
            when,
            draw(st.integers(1, 25)),
            draw(st.integers(1, 8)),
            draw(st.sampled_from(["A", "AB", "ß", "NO", "X", "ZZ", "Q"])),
            draw(st.sampled_from([1, 2, 1000, 999_999_999_999])),
            draw(st.sampled_from(["1", "0.1", "51.00", "0.000001", "999999999999.999999"])),
            draw(st.sampled_from("BS")),
        )
        lines.append(
            (
                draw(st.sampled_from([good] * 8 + [b"", b"\xff", b"a,b", good + b",", good[:-1] + b"X"])),
                at * 1000,
            )
        )
    repeats = draw(st.lists(st.integers(0, len(lines) - 1), max_size=8))
    for number in repeats:
        lines.insert(draw(st.integers(number + 1, len(lines))), lines[number])
    lines = [(value, max(arrived, START * 1000)) for value, arrived in lines]
    cuts = sorted(draw(st.lists(st.integers(0, len(lines)), max_size=6)))
    return lines, cuts


@settings(max_examples=150)
@given(histories())
def test_any_history_cut_anywhere_equals_a_recount(
    history: tuple[list[tuple[bytes, int]], list[int]],
) -> None:
    lines, cuts = history
    stream = Folding()
    for begin, end in zip([0, *cuts], [*cuts, len(lines)], strict=True):
        if lines[begin:end]:
            stream.take(lines[begin:end], begin)
    same(stream, book_of(lines, late_by=3600))


def test_the_top_clients_are_right_although_only_changed_ones_are_looked_at() -> None:
    stream, lines = Folding(), []
    for number in range(400):
        client = (number * 7919) % 53
        lines.append(
            (line(START + number, number, client, "A", 1 + number % 9, "1.50", "B"), (START + number) * 1000)
        )
    for begin in range(0, 400, 7):
        stream.take(lines[begin : begin + 7], begin)
        assert stream.state.top.rows() == book_of(lines[: begin + 7], late_by=3600).top_clients()


def test_an_order_of_2099_empties_nothing() -> None:
    stream = Folding()
    first = line(START, 1, 1, "A", 5, "2.00", "B")
    stream.take(
        [(first, START * 1000), (first.replace(b"2026-", b"2099-").replace(b",1,", b",2,", 1), START * 1000)],
        0,
    )
    assert stream.rejected == [(1, "future")]
    assert top_stocks(stream.state).rows() == [("A", 5)]


def test_messages_and_view_of_a_batch() -> None:
    done = FOLD.fold(FOLD.empty(), records([(line(START, 1, 80, "EPE", 710, "51.00", "B"), START * 1000)]))
    as_of = '"as_of":"2026-03-01T22:30:00Z"'
    assert dict(done.messages) == {
        "BUYS": '{"value":1,' + as_of + "}",
        "SELLS": '{"value":0,' + as_of + "}",
        "TOP5CLIENTS": '{"value":[{"client_id":80,"amount":"36210.00"}],' + as_of + "}",
        "TOP5STOCKS": '{"value":[{"symbol":"EPE","quantity":710}],' + as_of + "}",
    }
    assert done.live == {
        "as_of": "2026-03-01T22:30:00Z",
        "buys": 1,
        "sells": 0,
        "top_clients": [{"client_id": 80, "amount": "36210.00"}],
        "top_stocks": [{"symbol": "EPE", "quantity": 710}],
    }


def test_a_batch_of_garbage_alone_says_so() -> None:
    done = FOLD.fold(FOLD.empty(), records([(b"nonsense", START * 1000)]))
    assert dict(done.messages)["BUYS"] == '{"value":0,"as_of":null}'
    assert done.facts.is_empty()
    assert done.clocks == {}


def test_the_end_of_input_ends_the_source_until_it_speaks_again() -> None:
    order = line(START, 1, 80, "EPE", 710, "51.00", "B")
    done = FOLD.fold(FOLD.empty(), records([(order, START * 1000)]))
    done = FOLD.fold(done.state, records([(b"", START * 1000 + 5)], key=END_OF_INPUT))
    assert done.rejected.is_empty()
    assert [(clock.newest_at, clock.ended) for clock in done.clocks.values()] == [(START, True)]
    done = FOLD.fold(done.state, records([(order.replace(b",1,", b",2,", 1), START * 1000 + 9)]))
    assert [clock.ended for clock in done.clocks.values()] == [False]


def test_what_is_carried_is_bounded_by_the_last_hours() -> None:
    state: Any = OrderState()
    for hour in range(40):
        at = START + hour * 3600
        lines = [
            (line(at + n, hour * 100 + n, n % 5, "AB"[n % 2], 1, "1.00", "B"), at * 1000 + n)
            for n in range(100)
        ]
        state = FOLD.fold(state, records(lines)).state
    assert state.seen.height <= 200
    assert state.hours.height <= 4
    assert state.recent.height <= 200
    assert state.clients.height == 5


def test_amounts_as_text() -> None:
    texts = [
        amount_text(Decimal(value))
        for value in ("36210", "0.100000", "1.234500", "12345678901234567890.000001")
    ]
    assert texts == ["36210.00", "0.10", "1.2345", "12345678901234567890.000001"]
