"""A file of orders in the shape of the book's `orders.txt`, the same for the same seed on every machine."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from millrace.feeds.orders.line import line_time, order_line
from millrace.feeds.orders.market import orders

BOOK_LINES = 500_000
BOOK_BEGINS = 1_458_678_328
"""2016-03-22 20:25:28 UTC, the time of the book's first order."""


def write_book(
    path: Path, *, seed: int, lines: int = BOOK_LINES, rate: float = 10.0, begins: int = BOOK_BEGINS
) -> int:
    """Write orders 1 to `lines`, dated `rate` to the second from `begins` (epoch seconds UTC); the file's bytes.

    The file appears whole or not at all. Raises OSError.
    """
    new = path.with_name(f".{path.name}.new")
    try:
        with new.open("wb") as file:
            for number, order in enumerate(islice(orders(seed), lines)):
                file.write(order_line(order, line_time(begins + number / rate)) + b"\n")
        size = new.stat().st_size
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)
    return size
