"""The line of an order: `2016-03-22 20:25:28,1,80,EPE,710,51.00,B`.

Time (UTC, 24-hour clock), order id, client id, symbol, quantity, price, B for buy or S for sell. This is the
form that `streamOrders.sh` of the book "Spark in Action" sends.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

_TIME = re.compile(rb"\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}")
TIME_LENGTH = 19


class Order(NamedTuple):
    """An order without its time. `price` is in whole units of money."""

    order_id: int
    client_id: int
    symbol: str
    quantity: int
    price: int
    buy: bool


def order_line(order: Order, at: bytes) -> bytes:
    """The line, without a line end; `at` from `line_time`."""
    return b"%b,%d,%d,%b,%d,%d.00,%b" % (
        at,
        order.order_id,
        order.client_id,
        order.symbol.encode("ascii"),
        order.quantity,
        order.price,
        b"B" if order.buy else b"S",
    )


def line_time(moment: float) -> bytes:
    """Epoch seconds UTC as an order's line shows them: cut to the whole second."""
    return _text(int(moment))


@lru_cache(maxsize=16)
def _text(second: int) -> bytes:
    # Remembered, because formatting a time takes longer than all the rest of a line, and many share their second.
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%d %H:%M:%S").encode("ascii")


def time_of_line(line: bytes) -> int | None:
    """Epoch seconds UTC, or None when the line does not begin with a time."""
    text = line[:TIME_LENGTH]
    if not _TIME.fullmatch(text) or line[TIME_LENGTH : TIME_LENGTH + 1] not in (b",", b""):
        return None
    try:
        moment = datetime.strptime(text.decode("ascii"), "%Y-%m-%d %H:%M:%S")
    except ValueError:
        return None
    return int(moment.replace(tzinfo=UTC).timestamp())


def id_of_line(line: bytes) -> int | None:
    """The order id, or None for a line that has none: no seven fields, no number, a number beyond 18 digits."""
    fields = line.split(b",")
    if len(fields) != 7 or not fields[1].isdigit() or len(fields[1]) > 18:
        return None
    return int(fields[1])
