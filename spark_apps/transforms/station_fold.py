"""Stations as a fold over Kafka records, and as a DataFrame transform over the same records."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa

from spark_apps.runtime.keyed_fold import RECORDS, Folded
from spark_apps.runtime.records import ordered_records
from spark_apps.transforms.event_time import clocks, window_columns
from spark_apps.transforms.polls import parse_polls
from spark_apps.transforms.station_pack import pack, unpack
from spark_apps.transforms.stations import StationRules, StationState, step

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

HOURLY_SUMMARY = (
    "system_id string, station_id string, window_start timestamp, window_end timestamp, total_rental bigint, "
    "total_return bigint, observations bigint, gaps bigint, last_observed_at timestamp, bikes_at_end bigint"
)
"""Spark schema of the facts: one row per station and UTC hour."""


_TIME = pa.timestamp("us", tz="UTC")
_FACTS = pa.schema(  # what Spark expects of the schema above, to the letter
    [
        ("system_id", pa.string()),
        ("station_id", pa.string()),
        ("window_start", _TIME),
        ("window_end", _TIME),
        ("total_rental", pa.int64()),
        ("total_return", pa.int64()),
        ("observations", pa.int64()),
        ("gaps", pa.int64()),
        ("last_observed_at", _TIME),
        ("bikes_at_end", pa.int64()),
    ]
)


@dataclass(frozen=True)
class StationFold:
    """The station step behind the runtime's interface."""

    rules: StationRules

    @property
    def is_divisible(self) -> bool:
        return True  # Kafka's key is the system, and no two systems meet

    @property
    def lookback(self) -> timedelta | None:
        return timedelta(seconds=self.rules.max_gap)

    def empty(self) -> StationState:
        return StationState()

    def fold(self, state: StationState, records: pl.DataFrame) -> Folded:
        parsed = parse_polls(records["value"].to_list(), records["key"], records["timestamp"])
        done = step(state, parsed.polls, self.rules)
        return Folded(
            state=done.state,
            facts=hourly_summary(done.facts),
            rejected=pl.concat([parsed.rejected, done.rejected]).sort("row"),
            clocks=clocks(done.state.systems),
            observations=int(parsed.polls["stations"].list.len().sum() or 0),
        )

    def pack(self, state: StationState) -> bytes:
        return pack(state)

    def unpack(self, body: bytes) -> StationState:
        return unpack(body)


def hourly_summary(totals: pl.DataFrame) -> pl.DataFrame:
    """Totals by hour number as rows of the dataset `hourly_summary` (times are microseconds UTC)."""
    return totals.select(
        "system_id",
        "station_id",
        **window_columns(pl.col("hour")),
        total_rental="total_rental",
        total_return="total_return",
        observations="observations",
        gaps="gaps",
        last_observed_at=_time(pl.col("last_observed_at")),
        bikes_at_end="bikes_at_end",
    )


def movements(records: DataFrame, rules: StationRules) -> DataFrame:
    """Kafka records (key, value, partition, offset, timestamp) of whole histories to HOURLY_SUMMARY rows.

    The batch side of the stream: each system's records are folded, in order, from an empty state, on the
    executors. Rejected records are left out; the stream writes them to rejected/.
    """
    columns = ["key", "value", "partition", "offset", "timestamp"]

    def history(table: pa.Table) -> pa.Table:
        fold = StationFold(rules)
        facts = fold.fold(fold.empty(), ordered_records(table).select(list(RECORDS))).facts
        return facts.to_arrow().cast(_FACTS)

    return records.select(columns).groupBy("key").applyInArrow(history, HOURLY_SUMMARY)


def _time(seconds: pl.Expr) -> pl.Expr:
    return (seconds * 1_000_000).cast(pl.Datetime("us", "UTC"))
