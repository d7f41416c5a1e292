"""Which records of a batch are to blame: found by halving, with real processes that really die."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.catalog import load_catalog
from millrace.settings import PROJECT_ROOT
from spark_apps.runtime.keyed_fold import RECORDS
from spark_apps.runtime.poisoned import fold_without
from spark_apps.runtime.trial import MOST_TRIALS, UNTRIED, Search, failing_rows
from spark_apps.transforms.station_fold import StationFold
from spark_apps.transforms.stations import StationRules
from tests.integration.fragile_app import FragileFold
from tests.integration.streams import poll

DATASET = load_catalog(PROJECT_ROOT / "catalog").datasets["hourly_summary"]
T0 = 1_750_000_000
FOLD = StationFold(StationRules.of(timedelta(hours=2), timedelta(hours=2)))


def records(stations: Sequence[str]) -> pl.DataFrame:
    values = [poll("north", T0 + 60 * number, [(name, number)]) for number, name in enumerate(stations)]
    rows = [
        (key, value, 0, 100 + number, (T0 + 60 * number) * 1000) for number, (key, value) in enumerate(values)
    ]
    return pl.DataFrame(rows, schema=RECORDS, orient="row")


@given(st.lists(st.booleans(), max_size=60), st.data())
def test_exactly_the_failing_rows_are_found_and_the_others_were_tried_together(
    bad: list[bool], data: st.DataObject
) -> None:
    passed: list[list[int]] = []

    def attempt(rows: Sequence[int]) -> str | None:
        if any(bad[row] for row in rows):
            return "no"
        passed.append(list(rows))
        return None

    search = Search(attempt)
    search.over(range(len(bad)))
    assert set(search.failing) == {row for row, is_bad in enumerate(bad) if is_bad}
    assert search.good == [row for row, is_bad in enumerate(bad) if not is_bad]
    assert not search.good or passed[-1] == search.good or search.good in passed


def test_a_transform_that_always_fails_is_not_tried_for_ever() -> None:
    search = Search(lambda rows: "broken")
    search.over(range(100_000))
    assert search.trials <= MOST_TRIALS
    assert len(search.failing) == 100_000
    assert set(search.failing.values()) == {"broken", UNTRIED}


@pytest.mark.parametrize(
    ("station", "words"),
    [("raises", "ValueError: no such station: raises"), ("kills", "its process died (killed by signal 9)")],
)
def test_what_raises_and_what_kills_its_process_is_put_aside_alone(station: str, words: str) -> None:
    stations = ["a"] * 40
    stations[7] = stations[31] = station
    batch, fold = records(stations), FragileFold(FOLD)
    before = FOLD.fold(FOLD.empty(), records(["a"])).state
    failing = failing_rows(fold, FOLD.pack(before), batch, DATASET)
    assert failing == {7: words, 31: words}
    done = fold_without(fold, before, batch, failing)
    without = FOLD.fold(before, batch[[row for row in range(40) if row not in failing]])
    assert done.facts.equals(without.facts)
    assert FOLD.pack(done.state) == FOLD.pack(without.state)
    assert done.rejected.rows() == [(7, "poisoned", words), (31, "poisoned", words)]


class FailsEarly(FragileFold):
    """Fails already at what is said of each record apart."""

    def prepare(self, records: pl.DataFrame) -> pl.DataFrame:
        if any(b'"early"' in value for value in records["value"]):
            raise ValueError("early")
        return records


def test_what_fails_before_the_fold_is_put_aside_as_well() -> None:
    batch, fold = records(["a", "b", "early", "c"]), FailsEarly(FOLD)
    failing = failing_rows(fold, None, batch, DATASET)
    assert failing == {2: "ValueError: early"}
    assert fold_without(fold, FOLD.empty(), batch, failing).observations == 3


def test_rejected_rows_keep_their_numbers_and_a_batch_of_poison_alone_keeps_the_state() -> None:
    batch = records(["a", "a", "a"])
    batch[1, "value"] = b"not json"
    done = fold_without(FOLD, FOLD.empty(), batch, {0: "x"})
    assert [(row, reason) for row, reason, _ in done.rejected.rows()] == [
        (0, "poisoned"),
        (1, "not_an_envelope"),
    ]
    state = FOLD.empty()
    done = fold_without(FOLD, state, batch, {0: "x", 1: "y", 2: "z"})
    assert done.state is state
    assert (done.facts.height, done.rejected.height, done.observations) == (0, 3, 0)


def test_facts_that_do_not_fit_the_dataset_are_a_failure_too() -> None:
    other = DATASET.model_copy(update={"columns": {**DATASET.columns, "ebikes": "int64"}})
    failing = failing_rows(FOLD, None, records(["a", "b"]), other)
    assert set(failing) == {0, 1}
    assert "ebikes" in failing[0]
