"""Orders counted by plain Python, one at a time: what the order transform must agree with."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Context, Decimal

Key = tuple[str, int]
"""symbol, hour since the epoch."""
Row = tuple[int, int, Decimal, int, int]
"""orders, quantity, amount, buys, sells."""

EXACT = Context(prec=60)


@dataclass
class Book:
    """Everything that was counted, and why the rest was not."""

    late_by: int
    newest: int | None = None
    said: dict[tuple[int, int], tuple[object, ...]] = field(default_factory=dict)
    clients: dict[int, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    accepted: list[tuple[int, str, int]] = field(default_factory=list)
    rows: dict[Key, Row] = field(default_factory=dict)
    rejected: list[tuple[int, str]] = field(default_factory=list)
    buys: int = 0
    sells: int = 0

    def add(self, number: int, line: bytes, arrived_ms: int) -> None:
        """Count one line, or say why not (only the kinds of reasons that depend on other lines are told apart)."""
        order = parsed(line)
        if order is None:
            self.rejected.append((number, "malformed"))
            return
        at, order_id, client, symbol, quantity, price, buy = order
        if at * 1000 > arrived_ms + 300_000:
            self.rejected.append((number, "future"))
            return
        if self.newest is not None and at < self.newest - self.late_by:
            self.rejected.append((number, "too_late"))
            return
        self.newest = at if self.newest is None else max(self.newest, at)
        if (order_id, at) in self.said:
            if self.said[order_id, at] != order:
                self.rejected.append((number, "conflicting_id"))
            return
        self.said[order_id, at] = order
        self.clients[client] = EXACT.add(self.clients[client], EXACT.multiply(Decimal(quantity), price))
        self.accepted.append((at, symbol, quantity))
        amount = EXACT.multiply(Decimal(quantity), price)
        before = self.rows.get((symbol, at // 3600), (0, 0, Decimal(0), 0, 0))
        self.rows[symbol, at // 3600] = (
            before[0] + 1,
            before[1] + quantity,
            EXACT.add(before[2], amount),
            before[3] + buy,
            before[4] + (not buy),
        )
        self.buys += buy
        self.sells += not buy

    def top_clients(self) -> list[tuple[int, Decimal]]:
        return sorted(self.clients.items(), key=lambda item: (-item[1], item[0]))[:5]

    def top_stocks(self) -> list[tuple[str, int]]:
        sums: dict[str, int] = defaultdict(int)
        for at, symbol, quantity in self.accepted:
            if self.newest is not None and at > self.newest - 3600:
                sums[symbol] += quantity
        return sorted(sums.items(), key=lambda item: (-item[1], item[0]))[:5]


def book_of(lines: Iterable[tuple[bytes, int]], *, late_by: int) -> Book:
    """All (line, arrival in epoch ms) in order."""
    book = Book(late_by)
    for number, (line, arrived) in enumerate(lines):
        book.add(number, line, arrived)
    return book


def parsed(line: bytes) -> tuple[int, int, int, str, int, Decimal, bool] | None:
    """One line of the well-formed kind, strictly; None for anything else."""
    try:
        time, order_id, client, symbol, quantity, price, side = line.decode().split(",")
        at = datetime.strptime(time, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
        if side not in ("B", "S") or len(time) != 19 or not symbol.strip():
            return None
        order = (
            int(at.timestamp()),
            int(order_id),
            int(client),
            symbol,
            int(quantity),
            Decimal(price),
            side == "B",
        )
    except (ValueError, ArithmeticError):
        return None
    if order[4] < 1 or not order[5].is_finite() or order[5] <= 0 or order[1] < 0 or order[2] < 0:
        return None
    return order
