"""Every expectation of every suite is seen to fail on a row made for it, and to pass on a good hour."""

from __future__ import annotations

from datetime import timedelta

import polars as pl
import pytest

from millrace.quality.judge import judge
from millrace.quality.suite import EXPECTATIONS_DIR
from millrace.quality.views import Hour
from tests.unit.quality.builders import DATASET, HOUR, good, station, suite, table

BEFORE = HOUR - timedelta(hours=1)
WEEKS = tuple(good(HOUR - timedelta(weeks=week)) for week in (1, 2, 3, 4))


def with_row(**values) -> pl.DataFrame:
    return pl.concat([good(), table(station(99, **values))])


def hour(rows: pl.DataFrame, **known) -> Hour:
    return Hour(
        **{"dataset": DATASET, "rows": rows, "hour": HOUR, "before": good(BEFORE), "weeks": WEEKS} | known
    )


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
    "rentals_match_returns": [(hour(good(total_rental=14)), {"system_id": "city", "imbalance": 0.4})],
    "volume_as_usual": [
        (hour(good(total_rental=30, total_return=30)), {"system_id": "city", "usual_volume": 120.0}),
        (hour(good(total_rental=1, total_return=1)), {"system_id": "city", "volume": 20}),
        (hour(table(station(system_id="other"))), {"system_id": "city", "volume": 0}),
    ],
}
CASES = [(name, number) for name, made in MADE_TO_FAIL.items() for number in range(len(made))]


@pytest.fixture(scope="module")
def expectations():
    return suite()


def finding(expectations, name: str, judged: Hour):
    return next(one for one in judge(expectations, judged) if one.expected.name == name)


def test_every_expectation_of_every_suite_has_rows_made_to_fail_it(expectations):
    assert [file.stem for file in EXPECTATIONS_DIR.glob("*.json")] == [DATASET.name]
    assert set(MADE_TO_FAIL) == {one.name for one in expectations.expectations}


def test_a_good_hour_passes_all_of_them(expectations):
    assert {one.outcome for one in judge(expectations, hour(good()))} == {"passed"}


@pytest.mark.parametrize(("name", "number"), CASES)
def test_an_expectation_fails_on_the_row_made_for_it_and_shows_that_row(expectations, name, number):
    judged, culprit = MADE_TO_FAIL[name][number]
    found = finding(expectations, name, judged)
    assert found.outcome == "failed", found
    if culprit is None:
        assert found.failing is None
        return
    row = found.failing.to_dicts()[0]
    assert {key: row[key] for key in culprit} == culprit
    assert found.failing.height == (2 if name == "one_row_per_station" else 1)


def test_without_history_and_hour_before_it_is_not_evaluated_and_not_passed(expectations):
    alone = hour(good(), before=None, weeks=())
    outcomes = {one.expected.name: one.outcome for one in judge(expectations, alone)}
    assert {name for name, outcome in outcomes.items() if outcome == "not_evaluated"} == {
        "stations_still_there",
        "volume_as_usual",
    }


def test_few_movements_are_no_evidence(expectations):
    few = hour(table(station(total_rental=20, total_return=0)), weeks=(table(station(total_rental=1)),))
    for name in ("rentals_match_returns", "volume_as_usual"):
        assert finding(expectations, name, few).outcome == "not_evaluated"


def test_an_empty_hour_passes_only_when_it_is_sealed_and_never_had_facts(expectations):
    for without_facts, outcome in ((False, "failed"), (True, "not_evaluated")):
        empty = hour(good().clear(), without_facts=without_facts)
        assert finding(expectations, "has_rows", empty).outcome == outcome


def test_rows_of_an_unknown_hour_are_judged_as_far_as_that_goes(expectations):
    unknown = hour(good(), hour=None)
    assert finding(expectations, "begins_with_the_hour", unknown).outcome == "not_evaluated"
    assert finding(expectations, "rentals_plausible", unknown).outcome == "passed"


def test_a_column_that_is_not_there_fails_what_needs_it(expectations):
    found = finding(expectations, "gaps_not_negative", hour(good().drop("gaps")))
    assert (found.outcome, found.observed) == ("failed", "there is no column gaps")


def test_a_column_of_another_type_fails_and_does_not_stop_the_others(expectations):
    words = hour(good().with_columns(total_rental=pl.lit("many")))
    outcomes = {one.expected.name: one.outcome for one in judge(expectations, words)}
    assert outcomes["columns_and_types"] == outcomes["rentals_plausible"] == "failed"
    assert outcomes["returns_plausible"] == "passed"
