"""Orders counted: by side per batch, by client since the beginning, by symbol in the last hour and per hour.

Exact under repeats and micro-batch boundaries: an order, known by its id and time, counts once, and amounts are
integers (millionths) until they are decimals. One that says something else under a known id and time is
rejected. Both are remembered while an order of that time would still be accepted: a later repeat is too late.

`step` is pure: the same state and orders give the same result, to the byte, wherever they are run.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field

import polars as pl

from spark_apps.transforms.event_time import HOUR, REJECTED, advance, judge, sources_schema
from spark_apps.transforms.hour_rows import add_to_hours
from spark_apps.transforms.repeats import without_repeats

TOP = 5
STOCKS_WINDOW = 3600
"""Seconds: TOP5STOCKS counts orders with newest - 60 min < time <= newest."""
AMOUNT = pl.Decimal(38, 6)
SOURCE = "orders"

IDENTITY = ["order_id", "at"]
SEEN = {"order_id": pl.Int64, "at": pl.Int64, "mark": pl.Int64}
CLIENTS = {"client_id": pl.Int64, "amount": AMOUNT}
RECENT = {"symbol": pl.String, "at": pl.Int64, "quantity": pl.Int64}
HOURS = {
    "symbol": pl.String,
    "hour": pl.Int64,  # hours since the epoch, UTC
    "orders": pl.Int64,
    "quantity": pl.Int64,
    "amount": AMOUNT,
    "buys": pl.Int64,
    "sells": pl.Int64,
}


def _empty(schema: dict[str, type[pl.DataType] | pl.DataType]) -> pl.DataFrame:
    return pl.DataFrame(schema=schema)


@dataclass(frozen=True)
class OrderState:
    """What is carried from one micro-batch to the next.

    `seen`: the orders that could still be repeated, with a mark of what they said. `clients`: amount
    since the beginning. `top`: the first clients of them. `recent`: quantity by symbol and
    second of the last hour. `hours`: the rows of the open hours.
    """

    sources: pl.DataFrame = field(default_factory=lambda: _empty(sources_schema()))
    seen: pl.DataFrame = field(default_factory=lambda: _empty(SEEN))
    clients: pl.DataFrame = field(default_factory=lambda: _empty(CLIENTS))
    top: pl.DataFrame = field(default_factory=lambda: _empty(CLIENTS))
    recent: pl.DataFrame = field(default_factory=lambda: _empty(RECENT))
    hours: pl.DataFrame = field(default_factory=lambda: _empty(HOURS))

    @property
    def newest_at(self) -> int | None:
        """Time of the newest accepted order, epoch seconds."""
        return self.sources["newest_at"][0] if self.sources.height else None


@dataclass(frozen=True)
class OrderStep:
    """`counted`: how many orders of the batch count. `facts`: the rows (HOURS) that changed."""

    state: OrderState
    counted: int
    buys: int
    facts: pl.DataFrame
    rejected: pl.DataFrame


def step(state: OrderState, orders: pl.DataFrame, *, late_by: int) -> OrderStep:
    """Fold orders (row, order_lines.ORDER, kafka_at in epoch ms, end_of_input; in the order of offsets) into the state.

    `late_by` in seconds.
    """
    judged = judge(orders.with_columns(source=pl.lit(SOURCE)), state.sources, late_by=late_by, what="order")
    in_time = judged.filter(pl.col("reason").is_null())
    sources = advance(state.sources, in_time)
    fresh, seen, conflicts = _without_repeats(state.seen, in_time.filter(~pl.col("end_of_input")))
    fresh = fresh.with_columns(amount=_amount())
    clients, top = _clients(state, fresh)
    hours, facts = _hours(state.hours, fresh)
    newest = sources["newest_at"][0] if sources.height else None
    open_since = (newest or 0) - late_by
    rejected = pl.concat(
        [
            judged.filter(pl.col("reason").is_not_null()).select(list(REJECTED)),
            conflicts.select(list(REJECTED)),
        ]
    )
    return OrderStep(
        state=OrderState(
            sources=sources,
            seen=seen.filter(pl.col("at") >= open_since),
            clients=clients,
            top=top,
            recent=_recent(state.recent, fresh, newest or 0),
            hours=hours.filter(pl.col("hour") >= open_since // HOUR),
        ),
        counted=fresh.height,
        buys=int(fresh["buy"].sum()),
        facts=facts,
        rejected=rejected.sort("row"),
    )


def top_stocks(state: OrderState) -> pl.DataFrame:
    """symbol, quantity: the symbols with the largest quantity in the last hour; ties in order of symbol."""
    return (
        state.recent.group_by("symbol")
        .agg(pl.col("quantity").sum())
        .sort("quantity", "symbol", descending=[True, False])
        .head(TOP)
    )


def _without_repeats(
    seen: pl.DataFrame, orders: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """The orders that are new, all that are known now, and the orders that contradict a known one."""
    fresh, seen, conflicts = without_repeats(seen, orders.with_columns(mark=_mark(orders)), IDENTITY)
    told = conflicts.with_columns(
        reason=pl.lit("conflicting_id"),
        detail=pl.format("another order {} of that second came before it; that one counts", "order_id"),
    )
    return fresh.drop("mark"), seen, told


def _mark(orders: pl.DataFrame) -> pl.Series:
    """A number made of what an order says besides its identity; the same in every version of every library."""
    symbols = orders.select(pl.col("symbol").unique())
    numbers = [zlib.crc32(symbol.encode()) for symbol in symbols["symbol"]]
    symbols = symbols.with_columns(number=pl.Series(numbers, dtype=pl.Int64))
    parts = [
        pl.col("client_id"),
        pl.col("number"),
        pl.col("quantity"),
        pl.col("price"),
        pl.col("buy"),
    ]
    mark: pl.Expr = pl.lit(0, pl.Int64)
    for part in parts:  # wraps around, which is as good
        mark = mark * 6_364_136_223_846_793_005 + part.cast(pl.Int64) + 1_442_695_040_888_963_407
    numbered = orders.join(symbols, on="symbol", how="left", maintain_order="left")
    return numbered.select(mark.alias("mark"))["mark"]


def _amount() -> pl.Expr:
    """Quantity times price. 12 digits each, so a sum of 10^8 of them still fits."""
    return (pl.col("quantity").cast(pl.Int128) * pl.col("price").cast(pl.Int128)).alias("amount")


def _as_decimal(units: pl.Expr) -> pl.Expr:
    """Millionths (int128) as a decimal, exactly."""
    return units.cast(pl.String).str.zfill(7).str.replace(r"(\d{6})$", ".$1").cast(AMOUNT)


def _clients(state: OrderState, fresh: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """All totals, and the first clients. Totals only grow, so only who traded now can have risen."""
    changed = fresh.group_by("client_id", maintain_order=True).agg(added=_as_decimal(pl.col("amount").sum()))
    totals = changed.join(state.clients, on="client_id", how="left", maintain_order="left").select(
        "client_id", amount=(pl.col("added") + pl.col("amount").fill_null(0)).cast(AMOUNT)
    )
    others = ~pl.col("client_id").is_in(totals["client_id"].implode())
    clients = pl.concat([state.clients.filter(others), totals])
    risen = pl.concat([state.top.filter(others), totals])
    return clients, risen.sort("amount", "client_id", descending=[True, False]).head(TOP)


def _recent(recent: pl.DataFrame, fresh: pl.DataFrame, newest: int) -> pl.DataFrame:
    added = fresh.select(list(RECENT))
    return (
        pl.concat([recent, added])
        .filter(pl.col("at") > newest - STOCKS_WINDOW)
        # In order of first appearance: as reproducible as sorted, in half the time.
        .group_by("symbol", "at", maintain_order=True)
        .agg(pl.col("quantity").sum())
    )


def _hours(hours: pl.DataFrame, fresh: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The open hours' rows, and those that changed."""
    added = (
        fresh.group_by("symbol", hour=pl.col("at") // HOUR)
        .agg(
            orders=pl.len().cast(pl.Int64),
            quantity=pl.col("quantity").sum(),
            amount=_as_decimal(pl.col("amount").sum()),
            buys=pl.col("buy").sum().cast(pl.Int64),
            sells=(~pl.col("buy")).sum().cast(pl.Int64),
        )
        .select(list(HOURS))
    )
    return add_to_hours(hours, added)
