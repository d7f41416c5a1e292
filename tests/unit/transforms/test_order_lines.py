"""Order lines: what is one, and what each malformed one is told."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spark_apps.transforms.order_lines import diagnose, parse_lines

GOOD = b"2016-03-22 20:25:28,1,80,EPE,710,51.00,B"
AT = int(datetime(2016, 3, 22, 20, 25, 28, tzinfo=UTC).timestamp())


def parsed(*lines: bytes | None) -> tuple[list[tuple[object, ...]], list[tuple[int, str]]]:
    fields = parse_lines(pl.Series("value", lines, dtype=pl.Binary))
    assert fields.height == len(lines)
    numbered = list(enumerate(fields.iter_rows()))
    orders = [(row, *order) for row, order in numbered if order[0] is not None]
    rejected = [(row, diagnose(lines[row])[0]) for row, order in numbered if order[0] is None]
    assert all(set(fields.row(row)) == {None} for row, _ in rejected)
    return orders, rejected


def test_a_line_on_a_24_hour_clock() -> None:
    # A 12-hour pattern reads 20:25:28 as something else, or not at all, and 12:25:28 as half past midnight.
    (order,), rejected = parsed(GOOD)
    assert order == (0, AT, 1, 80, "EPE", 710, 51_000_000, True)
    assert rejected == []
    (noon,), _ = parsed(GOOD.replace(b"20:25", b"12:25"))
    assert noon[1] == AT - 8 * 3600


@pytest.mark.parametrize(
    ("price", "millionths"),
    [
        (b"51", 51_000_000),
        (b"0.1", 100_000),
        (b"0.000001", 1),
        (b"999999999999.999999", 999_999_999_999_999_999),
    ],
)
def test_prices_are_exact(price: bytes, millionths: int) -> None:
    assert parsed(GOOD.replace(b"51.00", price))[0][0][6] == millionths


MALFORMED = {
    b"": "empty",
    b" ": "empty",
    b"\r\n": "empty",
    b"\xff\xfe": "not_utf8",
    b"hello": "missing_fields",
    b"2016-03-22 20:25:28,1,80,EPE,710,51.00": "missing_fields",
    GOOD + b",B": "too_many_fields",
    GOOD + b",": "too_many_fields",
    GOOD[:-1] + b"X": "bad_side",
    GOOD[:-1] + b"b": "bad_side",
    GOOD[:-1]: "bad_side",
    GOOD.replace(b"2016-03-22", b"2016-13-22"): "bad_time",
    GOOD.replace(b"2016-03-22", b"2016-02-30"): "bad_time",
    GOOD.replace(b"2016-03-22", b"22.03.2016"): "bad_time",
    GOOD.replace(b"20:25:28", b"24:00:00"): "bad_time",
    GOOD.replace(b"20:25:28", b"20:25:60"): "bad_time",
    GOOD.replace(b"20:25:28", b"8:25:28 PM"): "bad_time",
    GOOD.replace(b",1,", b",one,"): "bad_order_id",
    GOOD.replace(b",1,", b",-1,"): "bad_order_id",
    GOOD.replace(b",1,", b",,"): "bad_order_id",
    GOOD.replace(b",80,", b",8.0,"): "bad_client_id",
    GOOD.replace(b"EPE", b""): "bad_symbol",
    GOOD.replace(b"EPE", b"E" * 33): "bad_symbol",
    GOOD.replace(b"710", b"0"): "bad_quantity",
    GOOD.replace(b"710", b"-3"): "bad_quantity",
    GOOD.replace(b"710", b"7e2"): "bad_quantity",
    GOOD.replace(b"710", b"9" * 13): "bad_quantity",
    GOOD.replace(b"51.00", b"NaN"): "bad_price",
    GOOD.replace(b"51.00", b"-51.00"): "bad_price",
    GOOD.replace(b"51.00", b"0.00"): "bad_price",
    GOOD.replace(b"51.00", b"51."): "bad_price",
    GOOD.replace(b"51.00", b"51.0000001"): "bad_price",
}


@pytest.mark.parametrize(("line", "reason"), MALFORMED.items())
def test_each_malformed_line_has_its_reason_and_disturbs_no_other(line: bytes, reason: str) -> None:
    orders, rejected = parsed(GOOD, line, GOOD.replace(b",1,", b",2,"), None)
    assert [order[:3] for order in orders] == [(0, AT, 1), (2, AT, 2)]
    assert rejected == [(1, reason), (3, "empty")]


@given(
    st.lists(
        st.one_of(st.binary(max_size=60), st.text(max_size=60).map(str.encode), st.just(GOOD)), max_size=8
    )
)
def test_every_line_is_an_order_or_has_a_reason(lines: list[bytes]) -> None:
    orders, rejected = parsed(*lines)
    assert sorted([order[0] for order in orders] + [row for row, _ in rejected]) == list(range(len(lines)))
    assert all(reason != "not_an_order" for _, reason in rejected)
    assert {row for row, line in enumerate(lines) if line == GOOD} <= {order[0] for order in orders}
