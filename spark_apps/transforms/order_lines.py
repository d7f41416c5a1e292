"""Order lines to orders: `2016-03-22 20:25:28,1,80,EPE,710,51.00,B`, parsed many at a time, judged one by one.

Fields: time (UTC, 24-hour clock), order id, client id, symbol, quantity, price, B for a buy or S for a sell. An
order table has one row per line:

| column | type | meaning |
|---|---|---|
| row | uint32 | which record of the input it was |
| at | int64 | epoch seconds UTC |
| order_id, client_id | int64 | from 0 |
| symbol | string | 1 to 32 characters |
| quantity | int64 | from 1 |
| price | int64 | millionths, above 0 |
| buy | bool | else a sell |
| kafka_at | int64 | when the broker appended it, epoch milliseconds UTC |
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from spark_apps.transforms.event_time import rejections
from spark_apps.transforms.text import decoded

PRICE_DIGITS = 6
ORDERS: dict[str, type[pl.DataType]] = {
    "row": pl.UInt32,
    "at": pl.Int64,
    "order_id": pl.Int64,
    "client_id": pl.Int64,
    "symbol": pl.String,
    "quantity": pl.Int64,
    "price": pl.Int64,
    "buy": pl.Boolean,
    "kafka_at": pl.Int64,
}
FIELDS = ("time", "order_id", "client_id", "symbol", "quantity", "price", "side")
_TIME = r"^[0-9]{4}-[0-9]{2}-[0-9]{2} (?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]$"
_ID = r"^[0-9]{1,18}$"
_SYMBOL = r"^\S.{0,31}$"
_QUANTITY = r"^[0-9]{1,12}$"
_PRICE = rf"^[0-9]{{1,12}}(?:\.[0-9]{{1,{PRICE_DIGITS}}})?$"


@dataclass(frozen=True)
class ParsedOrders:
    """The orders in the order of the records, and the records that are none (row, reason, detail)."""

    orders: pl.DataFrame
    rejected: pl.DataFrame


def parse_orders(values: pl.Series, kafka_at: pl.Series) -> ParsedOrders:
    """Parse lines (binary); what is no order comes back with its reason, the others are not disturbed."""
    lines = decoded(values).str.strip_chars_end("\r\n")
    frame = pl.DataFrame({"line": lines, "kafka_at": kafka_at}).with_row_index("row")
    # Eight parts of seven fields: what is beyond the seventh comma makes the line wrong.
    parts = pl.col("line").str.splitn(",", len(FIELDS) + 1).struct.rename_fields([*FIELDS, "rest"])
    frame = frame.with_columns(parts.alias("parts")).unnest("parts")
    price = pl.col("price").str.split_exact(".", 1).struct
    parsed = frame.select(
        "row",
        at=pl.when(pl.col("time").str.contains(_TIME)).then(
            pl.col("time").str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="us", strict=False).dt.epoch("s")
        ),
        order_id=_integer("order_id", _ID),
        client_id=_integer("client_id", _ID),
        symbol=pl.when(pl.col("symbol").str.contains(_SYMBOL)).then("symbol"),
        quantity=_integer("quantity", _QUANTITY),
        price=pl.when(pl.col("price").str.contains(_PRICE)).then(
            price.field("field_0").cast(pl.Int64, strict=False) * 10**PRICE_DIGITS
            + price.field("field_1").fill_null("").str.pad_end(PRICE_DIGITS, "0").cast(pl.Int64, strict=False)
        ),
        buy=pl.when(pl.col("side") == "B").then(True).when(pl.col("side") == "S").then(False),
        kafka_at="kafka_at",
        rest="rest",
    )
    whole = pl.all_horizontal(pl.col(name).is_not_null() for name in ORDERS)
    is_order = whole & pl.col("rest").is_null() & (pl.col("quantity") > 0) & (pl.col("price") > 0)
    orders = parsed.filter(is_order)
    wrong = parsed.filter(~is_order)["row"].to_list() if orders.height < parsed.height else []
    return ParsedOrders(
        orders.select(list(ORDERS)), rejections((row, *diagnose(values[row])) for row in wrong)
    )


def diagnose(value: bytes | None) -> tuple[str, str]:
    """Why one line is not an order, as (reason, detail) for a person."""
    if not value or not value.strip():
        return "empty", "the line is empty"
    try:
        line = value.decode().rstrip("\r\n")
    except UnicodeDecodeError as error:
        return "not_utf8", str(error)
    parts = line.split(",")
    if len(parts) < len(FIELDS):
        return "missing_fields", f"{len(parts)} fields; an order has {len(FIELDS)}: {', '.join(FIELDS)}"
    if len(parts) > len(FIELDS):
        return "too_many_fields", f"{len(parts)} fields; an order has {len(FIELDS)}: {', '.join(FIELDS)}"
    field = dict(zip(FIELDS, parts, strict=True))
    if not _is_time(field["time"]):
        return "bad_time", f"time is {field['time']!r}, not YYYY-MM-DD HH:MM:SS on a 24-hour clock"
    for name in ("order_id", "client_id"):
        if not re.match(_ID, field[name]):
            return f"bad_{name}", f"{name} is {field[name]!r}, not a number from 0 of at most 18 digits"
    if not re.match(_SYMBOL, field["symbol"]):
        return "bad_symbol", f"symbol is {field['symbol']!r}, not 1 to 32 characters"
    if not re.match(_QUANTITY, field["quantity"]) or int(field["quantity"]) == 0:
        return "bad_quantity", f"quantity is {field['quantity']!r}, not a number from 1 of at most 12 digits"
    if not re.match(_PRICE, field["price"]) or float(field["price"]) == 0:
        return "bad_price", (
            f"price is {field['price']!r}, not a decimal above 0 with at most {PRICE_DIGITS} digits after the point"
        )
    if field["side"] not in ("B", "S"):
        return "bad_side", f"side is {field['side']!r}, not B or S"
    return "not_an_order", "a field has an unexpected form"


def _integer(name: str, form: str) -> pl.Expr:
    return pl.when(pl.col(name).str.contains(form)).then(pl.col(name).cast(pl.Int64, strict=False))


def _is_time(text: str) -> bool:
    if not re.match(_TIME, text):
        return False
    try:
        datetime.strptime(text, "%Y-%m-%d %H:%M:%S")
    except ValueError:
        return False
    return True
