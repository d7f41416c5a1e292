"""Rows made to fail each expectation of `orders_hourly`, and a good hour of it."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import polars as pl

from millrace.catalog import load_catalog
from millrace.publish.codec import empty_hour
from millrace.quality.views import Hour
from millrace.settings import PROJECT_ROOT
from tests.unit.quality.builders import HOUR

DATASET = load_catalog(PROJECT_ROOT / "catalog").datasets["orders_hourly"]
SCHEMA = empty_hour(DATASET).rows.drop("version").schema
SECOND = timedelta(seconds=1)


def stock(symbol: str = "BAD", **values: Any) -> dict[str, Any]:
    return {
        "symbol": symbol,
        "window_start": HOUR,
        "window_end": HOUR + timedelta(hours=1),
        "orders": 3,
        "quantity": 710,
        "amount": Decimal("36210.00"),
        "buys": 2,
        "sells": 1,
    } | values


def good(*more: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame([stock("EPE"), stock("SAN"), *more], schema=SCHEMA)


def hour(rows: pl.DataFrame, **known: Any) -> Hour:
    return Hour(**{"dataset": DATASET, "rows": rows, "hour": HOUR, "before": good()} | known)


def good_hour() -> Hour:
    return hour(good())


def bad(**values: Any) -> Hour:
    return hour(good(stock(**values)))


MADE_TO_FAIL = {
    "columns_and_types": [
        (hour(good().drop("sells")), {"column": "sells", "type": "missing", "catalog_type": "int64"}),
        (hour(good().cast({"amount": pl.Float64})), {"column": "amount", "type": "double"}),
    ],
    "nothing_missing": [(bad(amount=None), {"column": "amount", "nulls": 1})],
    "has_rows": [(hour(good().clear()), None)],
    "one_row_per_symbol": [(hour(good(stock("EPE"))), {"symbol": "EPE"})],
    "begins_with_the_hour": [(bad(window_start=HOUR + SECOND), {"symbol": "BAD"})],
    "ends_with_the_hour": [(bad(window_end=HOUR), {"symbol": "BAD"})],
    "at_least_one_order": [(bad(orders=0), {"symbol": "BAD"})],
    "buys_not_negative": [(bad(buys=-1), {"buys": -1})],
    "sells_not_negative": [(bad(sells=-1), {"sells": -1})],
    "quantity_covers_orders": [(bad(quantity=2), {"symbol": "BAD", "quantity": 2})],
    "amount_positive": [(bad(amount=Decimal(0)), {"symbol": "BAD"})],
    "orders_plausible": [(bad(orders=1_000_001, quantity=2_000_000), {"symbol": "BAD"})],
    "symbols_still_there": [(hour(good(), before=good(stock("OLD"))), {"symbol": "OLD"})],
}
