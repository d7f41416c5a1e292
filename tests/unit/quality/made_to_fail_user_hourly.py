"""Hours of user_hourly: a good one, and for each expectation of its suite some made to fail it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import polars as pl

from millrace.quality.views import Hour
from tests.unit.quality.builders import HOUR
from tests.unit.quality.made import Made

MADE = Made(
    "user_hourly",
    {
        "source": "demo",
        "user_id": "u99",
        "window_start": HOUR,
        "window_end": HOUR + timedelta(hours=1),
        "requests": 3,
        "mean_score": 0.25,
        "mood": -0.5,
        "last_posted_at": HOUR + timedelta(minutes=59),
    },
    "user_id",
    tuple(f"u{number}" for number in range(5)),
)
good, hour, with_row, good_hour = MADE.good, MADE.hour, MADE.with_row, MADE.good_hour

MADE_TO_FAIL: dict[str, list[tuple[Hour, dict[str, Any] | None]]] = {
    "columns_and_types": [
        (hour(good().drop("mood")), {"column": "mood", "type": "missing", "catalog_type": "double"}),
        (hour(good().cast({"mood": pl.Float32})), {"column": "mood", "catalog_type": "double"}),
        (hour(good().with_columns(more=1)), {"column": "more", "catalog_type": "not in the catalog"}),
    ],
    "nothing_missing": [(with_row(mood=None), {"column": "mood", "nulls": 1})],
    "has_rows": [(hour(good().clear()), None)],
    "one_row_per_user": [(with_row(user_id="u3"), {"source": "demo", "user_id": "u3"})],
    "begins_with_the_hour": [(with_row(window_start=HOUR + timedelta(seconds=1)), {"user_id": "u99"})],
    "ends_with_the_hour": [(with_row(window_end=HOUR), {"user_id": "u99"})],
    "posted_within_the_hour": [
        (with_row(last_posted_at=HOUR - timedelta(milliseconds=1)), {"user_id": "u99"}),
        (with_row(last_posted_at=HOUR + timedelta(hours=1)), {"user_id": "u99"}),
    ],
    "at_least_one_request": [(with_row(requests=0), {"requests": 0})],
    "requests_plausible": [(with_row(requests=1_000_001), {"requests": 1_000_001})],
    "score_is_a_score": [
        (with_row(mean_score=1.0001), {"mean_score": 1.0001}),
        (with_row(mean_score=-1.0001), {"mean_score": -1.0001}),
    ],
    "mood_is_a_mood": [
        (with_row(mood=1.0001), {"mood": 1.0001}),
        (with_row(mood=-1.0001), {"mood": -1.0001}),
    ],
    "nobody_posts_every_second": [(with_row(requests=3601), {"requests": 3601})],
}
