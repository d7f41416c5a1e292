"""Hours of hashtags_hourly: a good one, and for each expectation of its suite some made to fail it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from millrace.catalog import load_catalog
from millrace.quality.views import Hour
from millrace.settings import PROJECT_ROOT

DATASET = load_catalog(PROJECT_ROOT / "catalog").datasets["hashtags_hourly"]
HOUR = datetime(2026, 3, 4, 8, tzinfo=UTC)
TIMES = {name: pl.Datetime("us", "UTC") for name in ("window_start", "window_end")}


def row(**values: Any) -> dict[str, Any]:
    good = {
        "source": "demo",
        "tag": "#t99",
        "window_start": HOUR,
        "window_end": HOUR + timedelta(hours=1),
        "posts": 5,
        "uses": 6,
    }
    return good | values


def good() -> pl.DataFrame:
    return pl.DataFrame([row(tag=f"#t{number}") for number in range(5)], schema_overrides=TIMES)


def hour(rows: pl.DataFrame) -> Hour:
    return Hour(dataset=DATASET, rows=rows, hour=HOUR)


def with_row(**values: Any) -> Hour:
    return hour(pl.concat([good(), pl.DataFrame([row(**values)], schema=good().schema)]))


MADE_TO_FAIL: dict[str, list[tuple[Hour, dict[str, Any] | None]]] = {
    "columns_and_types": [
        (hour(good().drop("uses")), {"column": "uses", "type": "missing", "catalog_type": "int64"}),
        (hour(good().cast({"posts": pl.Int32})), {"column": "posts", "type": "int32"}),
        (hour(good().with_columns(more=1)), {"column": "more", "catalog_type": "not in the catalog"}),
    ],
    "nothing_missing": [(with_row(posts=None), {"column": "posts", "nulls": 1})],
    "has_rows": [(hour(good().clear()), None)],
    "one_row_per_tag": [(with_row(tag="#t3"), {"source": "demo", "tag": "#t3"})],
    "begins_with_the_hour": [(with_row(window_start=HOUR + timedelta(seconds=1)), {"tag": "#t99"})],
    "ends_with_the_hour": [(with_row(window_end=HOUR), {"tag": "#t99"})],
    "tags_begin_with_a_hash": [
        (with_row(tag="t"), {"tag": "t"}),
        (with_row(tag="#"), {"tag": "#"}),
        (with_row(tag="##t"), {"tag": "##t"}),
    ],
    "at_least_one_post": [(with_row(posts=0), {"posts": 0})],
    "uses_cover_posts": [(with_row(posts=7), {"posts": 7, "uses": 6})],
    "posts_plausible": [(with_row(posts=10_000_001, uses=10_000_001), {"posts": 10_000_001})],
    "tags_are_short": [(with_row(tag="#" + 141 * "t"), {"tag": "#" + 141 * "t"})],
}


def good_hour() -> Hour:
    return hour(good())
