"""The summary of a day: each line is seen good, bad and not evaluated."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from millrace.publish.codec import encode_hour
from millrace.publish.hour import HourState
from millrace.publish.layout import published_key
from millrace.quality.daily import summarise
from millrace.quality.day import Counters, put_summary, read_summary
from millrace.store import MemoryStore
from spark_apps.runtime.carried_state import CarriedState, Manifest
from tests.unit.quality.builders import DATASET, good

DAY = date(2026, 3, 4)
NOW = datetime(2026, 3, 5, 2, 30, tzinfo=UTC)
HOURS = [datetime(2026, 3, 4, hour, tzinfo=UTC) for hour in range(24)]
QUALITY = {"outcome": "passed", "at": NOW.isoformat(), "warnings": {}}


@pytest.fixture
def store():
    made = MemoryStore()
    for at in HOURS:
        publish(made, at)
        publish(made, at - timedelta(days=1))
    return made


def publish(store, at, rows=None, final=1, quality=QUALITY):
    import polars as pl

    rows = (good(at) if rows is None else rows).with_columns(pl.lit(1, pl.Int64).alias("version"))
    state = HourState(rows=rows, final=final, rev=1, quality=quality)
    store.put(published_key(DATASET.prefix, at), encode_hour(state, DATASET))


def count(store, batch: int, observations: int, generation: int = 1):
    totals = {"observations": observations}
    manifest = Manifest(stream="station_hourly", generation=generation, batch=batch, buckets=1, totals=totals)
    CarriedState(store, "station_hourly", generation).commit(manifest)


def lines(store, day: date = DAY) -> dict[str, tuple[str, str]]:
    summary = summarise(store, DATASET, day, NOW)
    return {one.name: (one.outcome, one.says) for one in summary.checks}


def test_a_whole_day_is_ok_and_short(store):
    summary = summarise(store, DATASET, DAY, NOW)
    assert summary.outcome == "ok"
    assert (summary.hours, summary.keys) == ({"final": 24}, 10)
    assert summary.totals == {
        "total_rental": 1440,
        "total_return": 1440,
        "observations": 28800,
        "gaps": 0,
    }
    assert len(summary.text.splitlines()) == 7
    put_summary(store, summary)
    assert read_summary(store, DATASET.name, DAY) == summary


def test_hours_that_are_not_there_or_not_final_are_named(store):
    store.delete(published_key(DATASET.prefix, HOURS[3]))
    publish(store, HOURS[5], final=None)
    publish(store, HOURS[6], final=0)
    assert lines(store)["hours"] == (
        "failed",
        "21 of 24 final; missing: 03h; provisional: 05h; amending: 06h",
    )


def test_hours_before_the_first_ever_published_are_not_expected(store):
    for at in HOURS[:6]:
        store.delete(published_key(DATASET.prefix, at))
    for at in HOURS:
        store.delete(published_key(DATASET.prefix, at - timedelta(days=1)))
    found = lines(store)
    assert found["hours"] == ("ok", "18 of 18 final (publishing began at 06h)")
    assert found["station_id"][0] == "not_evaluated"
    assert {outcome for outcome, _ in lines(MemoryStore()).values()} == {"not_evaluated"}


def test_a_station_of_the_day_before_that_is_gone_is_named(store):
    publish(store, HOURS[0] - timedelta(days=1), good(HOURS[0] - timedelta(days=1), 11))
    assert lines(store)["station_id"] == ("warning", "10 there, 1 of the day before gone, 0 new: city/s10")


def test_rows_in_the_object_of_another_day_or_twice_make_the_sums_differ(store):
    publish(store, HOURS[2], good(HOURS[2] - timedelta(days=1)))
    outcome, says = lines(store)["sums"]
    assert outcome == "failed"
    assert "total_rental: rows 1,380, hours 1,440" in says


def test_the_streams_own_counters_are_read_from_summary_to_summary(store):
    count(store, 1, 1000)
    assert lines(store)["stream counters"] == ("not_evaluated", "no reading of the day before")
    put_summary(store, summarise(store, DATASET, DAY - timedelta(days=1), NOW))
    count(store, 2, 1000 + 28_800)
    assert lines(store)["stream counters"][0] == "ok"
    count(store, 3, 1000 + 40_000)
    assert lines(store)["stream counters"] == (
        "warning",
        "28,800 observations published, 40,000 read by the stream from one summary to the next",
    )
    count(store, 0, 5, generation=2)
    assert lines(store)["stream counters"][0] == "not_evaluated"


@pytest.mark.parametrize(("usual", "outcome"), [(1440, "ok"), (500, "warning"), (9000, "warning")])
def test_totals_are_compared_with_the_same_weekday(store, usual, outcome):
    assert lines(store)["trend"][0] == "not_evaluated"
    week_ago = summarise(store, DATASET, DAY, NOW).model_copy(
        update={"day": DAY - timedelta(weeks=1), "totals": {"total_rental": usual}}
    )
    put_summary(store, week_ago)
    assert lines(store)["trend"][0] == outcome


def test_what_the_audits_found_is_counted(store):
    publish(
        store, HOURS[1], quality=QUALITY | {"outcome": "warning", "warnings": {"volume_as_usual": "1 row"}}
    )
    publish(store, HOURS[2], quality=None)
    assert lines(store)["audits"] == ("warning", "22 passed, 1 warning, 1 not audited (volume_as_usual 1x)")


def test_counters_are_kept_for_the_next_day(store):
    count(store, 7, 123)
    summary = summarise(store, DATASET, DAY, NOW)
    assert summary.counters == {
        "station_hourly": Counters(generation=1, batch=7, totals={"observations": 123})
    }
