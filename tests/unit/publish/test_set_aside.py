"""Objects in landing that nobody can count: named, kept with the reason, and their hour goes on."""

import io
import json
from datetime import timedelta

import polars as pl
import pytest

from millrace.publish.due import due_hours
from millrace.publish.fold import HourResult, fold_hour
from millrace.publish.layout import facts_key, landing_prefix, seal_key
from millrace.publish.version import Version
from millrace.store import MemoryStore
from tests.unit.publish.builders import DATASET, HOUR, land, landing, new_store, published, rows, totals

V0, V1 = Version(0, 1, 0), Version(0, 1, 1)


def parquet(frame: pl.DataFrame) -> bytes:
    body = io.BytesIO()
    frame.write_parquet(body)
    return body.getvalue()


def land_body(store: MemoryStore, body: bytes, version: Version = V1) -> str:
    key = facts_key(DATASET.name, HOUR, version, 0, body)
    store.put(key, body)
    return key


def reason(store: MemoryStore, key: str) -> str:
    kept = key.replace("landing/", "rejected/landing/", 1)
    assert kept in store.objects
    explained = json.loads(store.get(f"{kept}.reason.json").body)
    assert explained["object"] == key
    return explained["reason"]


def fold_beside_a_good_object(store: MemoryStore) -> HourResult:
    land(store, V0, {"a": 1})
    result = fold_hour(store, DATASET, HOUR)
    assert totals(published(store))["a"] == 1
    assert landing(store) == []
    return result


def test_an_object_whose_name_no_driver_writes() -> None:
    store = new_store()
    key = landing_prefix(DATASET.name, HOUR) + "notes.txt"
    store.put(key, b"remember the milk")
    assert due_hours(store, DATASET, HOUR + timedelta(days=1)) == [HOUR]
    assert fold_beside_a_good_object(store).set_aside == 1
    assert reason(store, key) == "its name is not one that a driver writes"


@pytest.mark.parametrize("left", [0, 100])
def test_an_object_that_was_cut_off(left: int) -> None:
    store = new_store()
    key = land(store, V1, {"b": 2})
    store.put(key, store.get(key).body[:left])
    fold_beside_a_good_object(store)
    assert f"{left} bytes that are not the ones it is named after" in reason(store, key)
    store.put(key, b"")  # and again: the same name twice is no obstacle
    fold_beside_a_good_object(store)


def test_an_object_that_is_no_parquet_though_it_is_named_well() -> None:
    store = new_store()
    key = land_body(store, b"not parquet")
    fold_beside_a_good_object(store)
    assert "not rows of dataset counts" in reason(store, key)


def test_a_new_column_is_left_out_and_its_rows_count() -> None:
    store = new_store()
    land_body(store, parquet(rows(("b", 2, V1)).with_columns(colour=pl.lit("red"))))
    assert fold_beside_a_good_object(store).set_aside == 0
    assert published(store).rows.columns == ["key", "n", "version"]
    assert totals(published(store)) == {"a": 1, "b": 2}


def test_a_narrower_type_is_widened() -> None:
    store = new_store()
    land_body(store, parquet(rows(("b", 2, V1)).with_columns(pl.col("n").cast(pl.Int16))))
    assert fold_beside_a_good_object(store).set_aside == 0
    assert totals(published(store)) == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        (pl.col("n").cast(pl.String), "column n is large_string, and int64 is wanted"),
        (pl.col("n").cast(pl.Float64), "column n is double, and int64 is wanted"),
        (pl.col("n").cast(pl.UInt64), "column n is uint64, and int64 is wanted"),
        (pl.lit(None, pl.Int64).alias("n"), "column n has 1 nulls"),
        (pl.col("version") + 1, "its rows carry other versions than its name"),
    ],
)
def test_a_changed_type_is_refused_by_name(changed: pl.Expr, why: str) -> None:
    store = new_store()
    key = land_body(store, parquet(rows(("b", 2, V1)).with_columns(changed)))
    assert fold_beside_a_good_object(store).set_aside == 1
    assert why in reason(store, key)


def test_a_missing_column_is_refused_by_name() -> None:
    store = new_store()
    key = land_body(store, parquet(rows(("b", 2, V1)).drop("n")))
    fold_beside_a_good_object(store)
    assert "columns that are missing: n" in reason(store, key)


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"\xff"])
def test_a_seal_that_names_no_writer(body: bytes) -> None:
    store = new_store()
    key = seal_key(DATASET.name, HOUR, V1)
    store.put(key, body)
    assert fold_beside_a_good_object(store).status == "provisional"
    assert "not a seal" in reason(store, key)


def test_what_was_set_aside_counts_once_it_is_put_back() -> None:
    store = new_store()
    key = land(store, V1, {"b": 2})
    whole = store.get(key).body
    store.put(key, whole[:50])
    fold_beside_a_good_object(store)
    store.put(key, whole)
    fold_hour(store, DATASET, HOUR)
    assert totals(published(store)) == {"a": 1, "b": 2}
