"""Every expectation of every suite is seen to fail on a row made for it, and to pass on a good hour.

The rows are in `made_to_fail_<dataset>.py`: MADE_TO_FAIL (name of the expectation to hours, each with a part of the
row that is at fault, None where no row is) and `good_hour()`.
"""

from __future__ import annotations

import importlib

import polars as pl
import pytest

from millrace.catalog import load_catalog
from millrace.quality.judge import judge
from millrace.quality.suite import EXPECTATIONS_DIR, Suite, load_suite, suite_file
from millrace.settings import PROJECT_ROOT
from tests.unit.quality.builders import DATASET, good, station, table
from tests.unit.quality.made_to_fail_hourly_summary import hour

DATASETS = load_catalog(PROJECT_ROOT / "catalog").datasets
MADE = {name: importlib.import_module(f"{__package__}.made_to_fail_{name}") for name in sorted(DATASETS)}
CASES = [
    pytest.param(name, expected, number, id=f"{name}-{expected}-{number}")
    for name, module in MADE.items()
    for expected, made in module.MADE_TO_FAIL.items()
    for number in range(len(made))
]


@pytest.fixture(scope="module")
def suites() -> dict[str, Suite]:
    return {name: load_suite(suite_file(name), dataset) for name, dataset in DATASETS.items()}


@pytest.fixture(scope="module")
def expectations(suites):
    return suites[DATASET.name]


def finding(expectations, name: str, judged):
    return next(one for one in judge(expectations, judged) if one.expected.name == name)


def test_every_expectation_of_every_suite_has_rows_made_to_fail_it(suites):
    assert sorted(file.stem for file in EXPECTATIONS_DIR.glob("*.json")) == sorted(DATASETS)
    for name, suite in suites.items():
        assert set(MADE[name].MADE_TO_FAIL) == {one.name for one in suite.expectations}, name


@pytest.mark.parametrize("name", sorted(DATASETS))
def test_a_good_hour_passes_all_of_them(suites, name):
    found = judge(suites[name], MADE[name].good_hour())
    assert {one.expected.name: one.outcome for one in found if one.outcome != "passed"} == {}


@pytest.mark.parametrize(("dataset", "name", "number"), CASES)
def test_an_expectation_fails_on_the_row_made_for_it_and_shows_that_row(suites, dataset, name, number):
    judged, culprit = MADE[dataset].MADE_TO_FAIL[name][number]
    found = finding(suites[dataset], name, judged)
    assert found.outcome == "failed", found
    if culprit is None:
        assert found.failing is None
        return
    row = found.failing.to_dicts()[0]
    assert {key: row[key] for key in culprit} == culprit
    assert found.failing.height == (2 if name.startswith("one_row_per_") else 1)


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
