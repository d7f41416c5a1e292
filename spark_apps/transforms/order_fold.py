"""Orders as a fold over Kafka records: facts per symbol and hour, and the metrics of each micro-batch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

import polars as pl

from spark_apps.runtime.clock import as_datetime
from spark_apps.runtime.keyed_fold import Folded
from spark_apps.transforms.event_time import clocks, rejections, sources_schema, window_columns
from spark_apps.transforms.frame_pack import pack_frames, unpack_frames
from spark_apps.transforms.order_lines import ORDER, diagnose, parse_lines
from spark_apps.transforms.orders import (
    CLIENTS,
    HOURS,
    RECENT,
    SEEN,
    OrderState,
    OrderStep,
    step,
    top_stocks,
)

STATE_SCHEMA = 1
END_OF_INPUT = b"end_of_input"
"""Key of a record that is no order: nothing more comes (the end of a recording)."""


@dataclass(frozen=True)
class OrderFold:
    """The order step behind the runtime's interface."""

    late_by: timedelta

    @property
    def is_divisible(self) -> bool:
        return False  # the metrics are over all orders

    @property
    def lookback(self) -> timedelta | None:
        return None  # clients are counted since the beginning

    def empty(self) -> OrderState:
        return OrderState()

    def prepare(self, records: pl.DataFrame) -> pl.DataFrame:
        # The end of a recording has a body of no meaning, which must not become an order.
        lines = records.select(pl.when(~_is_end()).then("value"))["value"]
        return records.hstack(parse_lines(lines))

    def fold(self, state: OrderState, records: pl.DataFrame) -> Folded:
        prepared = records if "order_id" in records.columns else self.prepare(records)
        numbered = prepared.with_row_index("row").with_columns(
            end_of_input=_is_end(), is_order=pl.col("at").is_not_null()
        )
        orders = numbered.filter(pl.col("is_order") | pl.col("end_of_input")).select(
            "row", *ORDER, "end_of_input", kafka_at="timestamp"
        )
        done = step(state, orders, late_by=int(self.late_by.total_seconds()))
        wrong = numbered.filter(~pl.col("is_order") & ~pl.col("end_of_input")).select("row", "value")
        unparsed = rejections((row, *diagnose(value)) for row, value in wrong.iter_rows())
        metrics = metrics_of(done)
        return Folded(
            state=done.state,
            facts=orders_hourly(done.facts),
            rejected=pl.concat([unparsed, done.rejected]).sort("row"),
            clocks=clocks(done.state.sources),
            observations=done.counted,
            messages=[(key, _as_json(value)) for key, value in metrics.items()],
            live=_live(metrics),
        )

    def pack(self, state: OrderState) -> bytes:
        return pack_frames("orders", STATE_SCHEMA, vars(state))

    def unpack(self, body: bytes) -> OrderState:
        columns = {
            "sources": sources_schema(),
            "seen": SEEN,
            "clients": CLIENTS,
            "top": CLIENTS,
            "recent": RECENT,
            "hours": HOURS,
        }
        return OrderState(**unpack_frames(body, "orders", STATE_SCHEMA, columns))


def _is_end() -> pl.Expr:
    return (pl.col("key") == END_OF_INPUT).fill_null(False)


def orders_hourly(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows by hour number as rows of the dataset `orders_hourly` (times are microseconds UTC)."""
    return rows.select(
        "symbol", **window_columns(pl.col("hour")), **{name: pl.col(name) for name in list(HOURS)[2:]}
    )


def metrics_of(done: OrderStep) -> dict[str, object]:
    """The four messages of a micro-batch by key; see docs/schemas.md. Amounts are decimals as text."""
    as_of = done.state.newest_at
    common = {"as_of": f"{as_datetime(as_of):%Y-%m-%dT%H:%M:%SZ}" if as_of is not None else None}
    clients = [
        {"client_id": client, "amount": amount_text(amount)} for client, amount in done.state.top.iter_rows()
    ]
    return {
        "BUYS": {"value": done.buys, **common},
        "SELLS": {"value": done.counted - done.buys, **common},
        "TOP5CLIENTS": {"value": clients, **common},
        "TOP5STOCKS": {"value": top_stocks(done.state).to_dicts(), **common},
    }


def amount_text(amount: Decimal) -> str:
    """A decimal without superfluous zeros, but with two digits after the point at least."""
    whole, _, fraction = f"{amount:f}".partition(".")
    return f"{whole}.{fraction.rstrip('0').ljust(2, '0')}"


def _live(metrics: dict[str, object]) -> dict[str, object]:
    values = {key: content["value"] for key, content in metrics.items() if isinstance(content, dict)}
    return {
        "as_of": metrics["BUYS"]["as_of"],  # type: ignore[index]
        "buys": values["BUYS"],
        "sells": values["SELLS"],
        "top_clients": values["TOP5CLIENTS"],
        "top_stocks": values["TOP5STOCKS"],
    }


def _as_json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
