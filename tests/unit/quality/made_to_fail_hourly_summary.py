"""Rows made to fail each expectation of `hourly_summary`, and a good hour of it."""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from millrace.quality.views import Hour
from tests.unit.quality.builders import DATASET, HOUR, good, station, table

BEFORE = HOUR - timedelta(hours=1)
WEEKS = tuple(good(HOUR - timedelta(weeks=week)) for week in (1, 2, 3, 4))


def with_row(**values) -> pl.DataFrame:
    return pl.concat([good(), table(station(99, **values))])


def hour(rows: pl.DataFrame, **known) -> Hour:
    return Hour(
        **{"dataset": DATASET, "rows": rows, "hour": HOUR, "before": good(BEFORE), "weeks": WEEKS} | known
    )


def good_hour() -> Hour:
    return hour(good())


SECOND, DAY = timedelta(seconds=1), timedelta(days=1)
MADE_TO_FAIL = {
    "columns_and_types": [
        (hour(good().drop("gaps")), {"column": "gaps", "type": "missing", "catalog_type": "int64"}),
        (hour(good().cast({"gaps": pl.Int32})), {"column": "gaps", "type": "int32"}),
        (hour(good().with_columns(more=1)), {"column": "more", "catalog_type": "not in the catalog"}),
        (hour(good().cast({"window_end": pl.Datetime("us", "Asia/Seoul")})), {"column": "window_end"}),
    ],
    "nothing_missing": [(hour(with_row(bikes_at_end=None)), {"column": "bikes_at_end", "nulls": 1})],
    "has_rows": [(hour(good().clear()), None)],
    "one_row_per_station": [(hour(pl.concat([good(), table(station(3))])), {"station_id": "s3"})],
    "begins_with_the_hour": [
        (hour(with_row(window_start=HOUR + SECOND)), {"station_id": "s99"}),
        (hour(with_row(window_start=HOUR - DAY)), {"station_id": "s99"}),
    ],
    "ends_with_the_hour": [(hour(with_row(window_end=HOUR)), {"station_id": "s99"})],
    "observed_within_the_hour": [
        (hour(with_row(last_observed_at=HOUR - SECOND)), {"station_id": "s99"}),
        (hour(with_row(last_observed_at=HOUR + timedelta(hours=1))), {"station_id": "s99"}),
    ],
    "rentals_not_negative": [(hour(with_row(total_rental=-1)), {"total_rental": -1})],
    "returns_not_negative": [(hour(with_row(total_return=-1)), {"total_return": -1})],
    "observed_at_least_once": [(hour(with_row(observations=0)), {"observations": 0})],
    "gaps_not_negative": [(hour(with_row(gaps=-1)), {"gaps": -1})],
    "bikes_not_negative": [(hour(with_row(bikes_at_end=-1)), {"bikes_at_end": -1})],
    "rentals_plausible": [(hour(with_row(total_rental=1001)), {"total_rental": 1001})],
    "returns_plausible": [(hour(with_row(total_return=1001)), {"total_return": 1001})],
    "observations_plausible": [(hour(with_row(observations=3601)), {"observations": 3601})],
    "bikes_plausible": [(hour(with_row(bikes_at_end=2001)), {"bikes_at_end": 2001})],
    "stations_still_there": [(hour(good(), before=good(BEFORE, 11)), {"station_id": "s10"})],
    "rentals_match_returns": [(hour(good(total_rental=24)), {"system_id": "city", "imbalance": 0.6})],
    "volume_as_usual": [
        (hour(good(total_rental=30, total_return=30)), {"system_id": "city", "usual_volume": 120.0}),
        (hour(good(total_rental=1, total_return=1)), {"system_id": "city", "volume": 20}),
        (hour(table(station(system_id="other"))), {"system_id": "city", "volume": 0}),
    ],
}
