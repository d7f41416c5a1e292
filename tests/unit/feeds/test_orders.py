"""The made-up market and its lines, against reading the lines again by other means."""

import csv
import math
from collections import Counter
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from millrace.commands.feed import app
from millrace.feeds.orders.book import BOOK_BEGINS, write_book
from millrace.feeds.orders.line import Order, id_of_line, line_time, order_line, time_of_line
from millrace.feeds.orders.market import orders, symbols
from millrace.feeds.orders.replay import moved, read_lines

runner = CliRunner()


def test_a_line_is_the_one_of_the_book() -> None:
    order = Order(order_id=1, client_id=80, symbol="EPE", quantity=710, price=51, buy=True)
    line = order_line(order, line_time(BOOK_BEGINS))
    assert line == b"2016-03-22 20:25:28,1,80,EPE,710,51.00,B"
    assert (id_of_line(line), time_of_line(line)) == (1, BOOK_BEGINS)


def test_any_stretch_of_a_market_is_the_same_wherever_one_begins() -> None:
    whole = list(islice(orders(7), 3500))
    assert [order.order_id for order in whole] == list(range(1, 3501))
    for first in (1, 2, 999, 1000, 1001, 2345):
        assert list(islice(orders(7, first), 1100)) == whole[first - 1 : first + 1099]
    assert [order[1:] for order in islice(orders(8), 100)] != [order[1:] for order in whole[:100]]


def test_a_market_has_the_books_ranges_and_uses_them_whole() -> None:
    made = list(islice(orders(1), 200_000))
    assert {order.client_id for order in made} == set(range(1, 101))
    assert {order.symbol for order in made} == set(symbols(1))
    assert len(symbols(1)) == 80
    assert all(1 <= len(symbol) <= 4 and symbol.isalpha() and symbol.isupper() for symbol in symbols(1))
    assert {len(symbol) for symbol in symbols(1)} == {1, 2, 3, 4}
    assert {order.quantity for order in made} == set(range(1, 1001))
    assert {order.price for order in made} == set(range(1, 101))
    assert 0.49 < sum(order.buy for order in made) / len(made) < 0.51
    (_, most), *_, (_, least) = Counter(order.client_id for order in made).most_common()
    assert 2 < most / least < 4, "some are busier, so a top five is more than chance"


def test_the_book_can_be_counted_from_its_file_and_from_its_seed_alike(tmp_path: Path) -> None:
    path = tmp_path / "orders.txt"
    assert write_book(path, seed=3, lines=20_000, rate=10) == path.stat().st_size
    amounts: dict[int, Decimal] = {}
    quantities: Counter[str] = Counter()
    sides: Counter[str] = Counter()
    begins = datetime(2016, 3, 22, 20, 25, 28)
    with path.open(newline="") as file:
        for number, row in enumerate(csv.reader(file)):
            time, order_id, client, symbol, quantity, price, side = row
            assert datetime.strptime(time, "%Y-%m-%d %H:%M:%S") == begins + timedelta(seconds=number // 10)
            assert order_id == str(number + 1)
            amounts[int(client)] = amounts.get(int(client), Decimal(0)) + Decimal(price) * int(quantity)
            quantities[symbol] += int(quantity)
            sides[side] += 1
    truth = list(islice(orders(3), 20_000))
    for client_id, amount in amounts.items():
        assert amount == sum(o.quantity * o.price for o in truth if o.client_id == client_id)
    for symbol in symbols(3):
        assert quantities[symbol] == sum(o.quantity for o in truth if o.symbol == symbol)
    assert sides == {"B": sum(o.buy for o in truth), "S": sum(not o.buy for o in truth)}


def test_a_file_of_the_books_size_is_written_by_the_command_the_same_each_time(tmp_path: Path) -> None:
    whole, part = tmp_path / "whole.txt", tmp_path / "part.txt"
    answer = runner.invoke(app, ["orders", "--write", str(whole)])
    assert answer.exit_code == 0, answer.output
    assert "500000 orders of seed 1" in answer.output
    assert whole.read_bytes().count(b"\n") == 500_000
    assert runner.invoke(app, ["orders", "--write", str(part), "--lines", "20000"]).exit_code == 0
    assert part.read_bytes().count(b"\n") == 20_000
    assert whole.read_bytes().startswith(part.read_bytes())
    assert {path.name for path in tmp_path.iterdir()} == {"whole.txt", "part.txt"}, (
        "nothing else is left behind"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--lines", "5"], "goes with --write"),
        (["--write", "x", "--total", "5"], "does not go with"),
        (["--write", "x", "--rate", "0"], "must be greater than 0"),
        (["--write", "/nowhere/at/all.txt"], "cannot be written: No such file"),
        (["--rate", "0"], "--rate: Input should be greater than 0"),
    ],
)
def test_options_that_make_no_sense_are_refused(arguments: list[str], message: str) -> None:
    answer = runner.invoke(app, ["orders", *arguments], env={"COLUMNS": "200", "TERMINAL_WIDTH": "200"})
    assert answer.exit_code == 2
    assert message in answer.output


@pytest.mark.parametrize(
    "line",
    [
        b"", b"\xff\xfe", b"2016-03-22", b"2016-13-22 20:25:28,1,80,EPE,710,51.00,B", b"22.03.2016 20:25:28,1",
        b"2016-03-22 25:25:28,1,80,EPE,710,51.00,B", b"2016-03-22 20:25:281,80", b"x" * 40,
    ],
)  # fmt: skip
def test_a_line_without_a_time_is_not_moved(line: bytes) -> None:
    assert time_of_line(line) is None
    assert moved(line, 1000) == line


@given(st.integers(0, 4_000_000_000), st.integers(-(10**6), 10**8), st.binary(max_size=40))
def test_moving_a_line_changes_its_time_only(moment: int, shift: int, rest: bytes) -> None:
    line = line_time(moment) + b"," + rest
    assert time_of_line(line) == moment
    if moment + shift >= 0:
        assert moved(line, shift) == line_time(moment + shift) + b"," + rest
    assert moved(line, 0) is line


@pytest.mark.parametrize(
    ("line", "order_id"),
    [
        (b"2016-03-22 20:25:28,12,80,EPE,710,51.00,B", 12),
        (b"2016-03-22 20:25:28,-12,80,EPE,710,51.00,B", None),
        (b"2016-03-22 20:25:28,12,80,EPE,710,51.00", None),
        (b"2016-03-22 20:25:28," + b"9" * 19 + b",80,EPE,710,51.00,B", None),
        (b"", None),
        (b"\xff" * 10, None),
    ],
)
def test_the_id_of_a_line(line: bytes, order_id: int | None) -> None:
    assert id_of_line(line) == order_id


def test_lines_lose_their_ends_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "orders.txt"
    path.write_bytes(b"a\nb \r\n\n\r\n\xff\x00,\t\nlast")
    assert list(read_lines(path)) == [b"a", b"b ", b"", b"", b"\xff\x00,\t", b"last"]


def test_a_rate_is_kept_in_the_times_of_the_book(tmp_path: Path) -> None:
    write_book(tmp_path / "o", seed=1, lines=50, rate=4, begins=1_000_000_000)
    times = [time_of_line(line) for line in read_lines(tmp_path / "o")]
    assert times == [1_000_000_000 + math.floor(number / 4) for number in range(50)]
