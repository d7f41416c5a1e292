"""A driver that is newer than the catalog, on a real S3 server: a new column, a changed type, and the hour goes on."""

from __future__ import annotations

import io
import json
from datetime import datetime

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from millrace.publish.codec import decode_hour, schema_of
from millrace.publish.compact import compact_hours
from millrace.publish.due import due_hours
from millrace.publish.fold import HourResult
from millrace.publish.landing import write_facts, write_seals
from millrace.publish.layout import HOUR as AN_HOUR
from millrace.publish.layout import facts_key, landing_prefix, published_key
from millrace.publish.version import Version
from millrace.quality.auditor import auditor_of
from millrace.store import S3Store
from tests.unit.quality.builders import DATASET, HOUR, begin, good, land, station, table

pytestmark = pytest.mark.stack


def land_as(store: S3Store, table: pa.Table, batch: int) -> str:
    """Land a table as it is, as a driver with another schema would."""
    version = Version(0, 1, batch)
    versions = pa.array([version.packed()] * table.num_rows, pa.int64())
    body = io.BytesIO()
    pq.write_table(table.append_column("version", versions), body)
    key = facts_key(DATASET.name, HOUR, version, 0, body.getvalue())
    store.put(key, body.getvalue())
    return key


def arrow(rows: pl.DataFrame) -> pa.Table:
    return rows.to_arrow().cast(pa.schema([schema_of(DATASET).field(name) for name in DATASET.columns]))


def recast(rows: pl.DataFrame, **types: pa.DataType) -> pa.Table:
    """The same rows with other types of some columns."""
    made = arrow(rows)
    for name, kind in types.items():
        made = made.set_column(made.schema.get_field_index(name), name, made[name].cast(kind))
    return made


def compact(store: S3Store, hour: datetime = HOUR) -> HourResult:
    (done,) = compact_hours(store, DATASET, [hour], audit=auditor_of(store, [DATASET]))
    return done


def published(store: S3Store) -> list[dict[str, object]]:
    key = published_key(DATASET.prefix, HOUR)
    return decode_hour(store.get(key).body, DATASET, key).rows.drop("version").to_dicts()


def expected(rows: pl.DataFrame) -> list[dict[str, object]]:
    return rows.sort(DATASET.keys).to_dicts()


def test_a_new_column_is_left_out_and_everything_else_of_its_facts_counts(store: S3Store) -> None:
    begin(store)
    land(store, good(), 1)
    newer = good(total_rental=9)
    land_as(store, arrow(newer).append_column("ebikes", pa.array([4] * newer.height)), 2)
    write_seals(store, DATASET, "station_hourly", [HOUR], Version(0, 1, 3))
    done = compact(store)
    assert (done.outcome, done.status, done.set_aside) == ("published", "final", 0)
    assert published(store) == expected(newer)
    assert list(store.list_objects("rejected/")) == []


def test_a_narrower_type_that_loses_nothing_counts(store: S3Store) -> None:
    begin(store)
    narrow = recast(
        good(), total_rental=pa.int32(), observations=pa.uint16(), window_start=pa.timestamp("ms", "UTC")
    )
    land_as(store, narrow, 1)
    assert compact(store).set_aside == 0
    assert published(store) == expected(good())


@pytest.mark.parametrize(
    ("types", "words"),
    [
        ({"total_rental": pa.float64()}, "column total_rental is double, and int64 is wanted"),
        ({"station_id": pa.binary()}, "column station_id is binary, and string is wanted"),
        ({"window_end": pa.timestamp("us")}, "column window_end is timestamp[us], and timestamp[us, tz=UTC]"),
    ],
)
def test_a_changed_type_is_set_aside_with_its_reason_and_counts_when_it_is_written_again(
    store: S3Store, types: dict[str, pa.DataType], words: str
) -> None:
    begin(store)
    land(store, good(), 1)
    changed = table(station(3, total_rental=50), station(77, total_rental=2))
    other = land_as(store, recast(changed, **types), 2)
    write_seals(store, DATASET, "station_hourly", [HOUR], Version(0, 1, 3))

    done = compact(store)
    assert (done.outcome, done.status, done.set_aside) == ("published", "final", 1)
    assert published(store) == expected(good()), "the facts of other drivers go on"
    kept = other.replace("landing/", "rejected/landing/", 1)
    reason = json.loads(store.get(f"{kept}.reason.json").body)
    assert reason["object"] == other
    assert words in reason["reason"]
    assert pq.read_table(io.BytesIO(store.get(kept).body)).num_rows == changed.height, "nothing is lost"
    assert other not in {info.key for info in store.list_objects(landing_prefix(DATASET.name))}

    # What its reason says to do: mend the cause (here the driver, which writes the batch again), or copy it back.
    land(store, changed, 4)
    assert due_hours(store, DATASET, HOUR + 2 * AN_HOUR) == [HOUR]
    assert compact(store).status == "amending"
    newest = pl.concat([good().filter(pl.col("station_id") != "s3"), changed])
    assert published(store) == expected(newest)


def test_a_column_that_is_added_later_has_its_default_in_older_hours_and_objects(store: S3Store) -> None:
    begin(store)
    land(store, good(), 1)
    assert compact(store).outcome == "published"
    land(store, table(station(3, total_rental=50)), 2)  # by a driver that does not know the column yet
    newer = DATASET.model_copy(
        update={"columns": {**DATASET.columns, "ebikes": "int64"}, "defaults": {"ebikes": -1}}
    )
    newest = table(station(4, total_rental=51)).with_columns(ebikes=pl.lit(7, pl.Int64))
    write_facts(store, newer, newest, Version(0, 1, 3), 0)
    (done,) = compact_hours(store, newer, [HOUR])
    assert (done.outcome, done.set_aside) == ("published", 0)
    key = published_key(DATASET.prefix, HOUR)
    rows = decode_hour(store.get(key).body, newer, key).rows
    told = {row["station_id"]: (row["total_rental"], row["ebikes"]) for row in rows.iter_rows(named=True)}
    assert told == {f"s{n}": (6, -1) for n in range(10)} | {"s3": (50, -1), "s4": (51, 7)}
