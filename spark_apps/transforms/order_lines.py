"""Order lines to orders: `2016-03-22 20:25:28,1,80,EPE,710,51.00,B`, parsed many at a time, judged one by one.

Fields: time (UTC, 24-hour clock), order id, client id, symbol, quantity, price, B for a buy or S for a sell. Parsed,
a line is

| column | type | meaning |
|---|---|---|
| at | int64 | epoch seconds UTC |
| order_id, client_id | int64 | from 0 |
| symbol | string | 1 to 32 characters |
| quantity | int64 | from 1 |
| price | int64 | millionths, above 0 |
| buy | bool | else a sell |
"""

from __future__ import annotations

import re
from datetime import datetime

import polars as pl

from spark_apps.transforms.text import decoded

PRICE_DIGITS = 6
ORDER: dict[str, type[pl.DataType]] = {
    "at": pl.Int64,
    "order_id": pl.Int64,
    "client_id": pl.Int64,
    "symbol": pl.String,
    "quantity": pl.Int64,
    "price": pl.Int64,
    "buy": pl.Boolean,
}
FIELDS = ("time", "order_id", "client_id", "symbol", "quantity", "price", "side")
_TIME = r"^[0-9]{4}-[0-9]{2}-[0-9]{2} (?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]$"
_ID = r"^[0-9]{1,18}$"
_SYMBOL = r"^\S.{0,31}$"
_QUANTITY = r"^[0-9]{1,12}$"
_PRICE = rf"^[0-9]{{1,12}}(?:\.[0-9]{{1,{PRICE_DIGITS}}})?$"


def parse_lines(values: pl.Series) -> pl.DataFrame:
    """The columns of ORDER, a row per line (binary); all of them null where a line is no order (see `diagnose`).

    Each line apart, so that the lines may be parsed in any portions.
    """
    # Eight parts of seven fields: what is beyond the seventh comma makes the line wrong.
    parts = decoded(values).str.strip_chars_end("\r\n").str.splitn(",", len(FIELDS) + 1)
    fields = pl.DataFrame(parts.struct.rename_fields([*FIELDS, "rest"]).struct.unnest())
    price = pl.col("price").str.split_exact(".", 1).struct
    parsed = fields.select(
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
        rest="rest",
    )
    whole = pl.all_horizontal(pl.col(name).is_not_null() for name in ORDER)
    is_order = whole & pl.col("rest").is_null() & (pl.col("quantity") > 0) & (pl.col("price") > 0)
    if parsed.select(is_order.all()).item():
        return parsed.drop("rest")
    return parsed.select(pl.when(is_order).then(pl.col(name)).alias(name) for name in ORDER)


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
