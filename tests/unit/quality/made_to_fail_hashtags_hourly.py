"""Hours of hashtags_hourly: a good one, and for each expectation of its suite some made to fail it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import polars as pl

from millrace.quality.views import Hour
from tests.unit.quality.builders import HOUR
from tests.unit.quality.made import Made

MADE = Made(
    "hashtags_hourly",
    {
        "source": "demo",
        "tag": "#t99",
        "window_start": HOUR,
        "window_end": HOUR + timedelta(hours=1),
        "posts": 5,
        "uses": 6,
    },
    "tag",
    tuple(f"#t{number}" for number in range(5)),
)
good, hour, with_row, good_hour = MADE.good, MADE.hour, MADE.with_row, MADE.good_hour

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
