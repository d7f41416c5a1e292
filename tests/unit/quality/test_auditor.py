"""The audit within the fold: what is published, what goes to quarantine, and every way out of it."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from millrace.publish.codec import decode_hour
from millrace.publish.compact import compact_hours
from millrace.publish.layout import landing_prefix, published_key, seal_key
from millrace.publish.version import Version
from millrace.quality.auditor import Auditor, auditor_of
from millrace.quality.quarantine import Decision, approval_key, put_decision, waiting_entries
from millrace.quality.results import results_prefix
from millrace.quality.suite import SuiteError
from millrace.store import MemoryStore, NotFound
from tests.unit.quality.builders import DATASET, HOUR, begin, good, land, station, suite, table

NOW = datetime(2026, 3, 4, 10, tzinfo=UTC)
BAD = {"total_rental": 5000}


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


@pytest.fixture
def store():
    made = MemoryStore()
    begin(made)
    return made


@pytest.fixture
def audit(store):
    return Auditor(store, {DATASET.name: suite()}, clock=Clock())


@pytest.fixture
def compact(store, audit):
    return lambda *hours: compact_hours(store, DATASET, hours or [HOUR], audit=audit)


def published(store, hour=HOUR):
    key = published_key(DATASET.prefix, hour)
    return decode_hour(store.get(key).body, DATASET, key)


def results(store, hour=HOUR) -> list[pl.DataFrame]:
    keys = [info.key for info in store.list_objects(results_prefix(DATASET.name, hour))]
    return [pl.read_parquet(io.BytesIO(store.get(key).body)) for key in keys]


def decide(store, entry, decision, why="seen with my own eyes"):
    where = {"dataset": entry.dataset, "hour": entry.hour, "digest": entry.digest}
    put_decision(store, Decision(decision=decision, who="ana", at=NOW, why=why, **where))


def test_a_good_hour_is_published_with_its_result_in_the_footer(store, compact):
    land(store, good(), 1)
    (done,) = compact()
    assert done.outcome == "published"
    quality = published(store).quality
    assert quality["outcome"] == "passed"
    assert quality["not_evaluated"] == ["stations_still_there", "volume_as_usual"]
    (kept,) = results(store)
    assert kept.height == quality["expectations"] == 19
    assert set(kept["verdict"]) == {"passed"}
    assert kept["hour"].unique().to_list() == [HOUR]


def test_a_warning_is_published_and_marked(store, compact):
    before = HOUR - timedelta(hours=1)
    land(store, good(before, 11), 1, before)
    land(store, good(), 2)
    assert [one.outcome for one in compact(before, HOUR)] == ["published", "published"]
    assert published(store).quality["outcome"] == "warning"
    assert published(store).quality["warnings"] == {"stations_still_there": "1 of 11 rows"}


def test_a_critical_failure_publishes_nothing_loses_nothing_and_says_what_to_do(store, compact):
    other = HOUR + timedelta(hours=1)
    key = land(store, pl.concat([good(), table(station(99, **BAD))]), 1)
    land(store, good(other), 1, other)
    refused, fine = compact(HOUR, other)
    assert (refused.outcome, fine.outcome) == ("quarantined", "published")
    with pytest.raises(NotFound):
        published(store)
    assert store.get(key), "what landed stays"
    for words in (
        "rentals_plausible",
        "station_id=s99, total_rental=5000",
        "review_quarantine",
        landing_prefix(DATASET.name, HOUR),
    ):
        assert words in refused.error
    (entry,) = waiting_entries(store, DATASET)
    assert entry.reason == refused.error
    (failed,) = entry.failed
    rows = pl.read_parquet(io.BytesIO(store.get(failed.object).body))
    assert rows.equals(table(station(99, **BAD)))
    assert set(results(store)[0]["verdict"]) == {"quarantined"}


def test_the_published_hour_stays_as_it_was_while_its_amendment_is_in_quarantine(store, compact):
    land(store, good(), 1)
    compact()
    land(store, table(station(3, **BAD)), 2)
    assert [one.outcome for one in compact()] == ["quarantined"]
    assert published(store).rows.drop("version").equals(good())


def test_way_out_a_newer_fact(store, compact):
    land(store, good(**BAD), 1)
    compact()
    land(store, good(), 2)
    assert [one.outcome for one in compact()] == ["published"]
    assert waiting_entries(store, DATASET) == []


def test_way_out_a_changed_suite(store, compact, tmp_path):
    from millrace.quality.suite import suite_file

    land(store, good(**BAD), 1)
    compact()
    text = suite_file(DATASET.name).read_text().replace('"max_value": 1000}', '"max_value": 9000}')
    (tmp_path / "hourly_summary.json").write_text(text)
    changed = auditor_of(store, [DATASET], tmp_path)
    (done,) = compact_hours(store, DATASET, [HOUR], audit=changed)
    assert done.outcome == "published"
    assert waiting_entries(store, DATASET) == []


def test_way_out_the_facts_are_moved_aside(store, compact):
    land(store, good(), 1)
    compact()
    key = land(store, table(station(3, **BAD)), 2)
    compact()
    store.delete(key)
    assert waiting_entries(store, DATASET) == []
    assert [one.outcome for one in compact()] == ["unchanged"]


def test_way_out_an_approval_of_exactly_this_content(store, compact):
    land(store, good(**BAD), 1)
    compact()
    (entry,) = waiting_entries(store, DATASET)
    decide(store, entry, "approved", "a fair")
    assert waiting_entries(store, DATASET) == []
    assert [one.outcome for one in compact()] == ["published"]
    quality = published(store).quality
    assert quality["outcome"] == "approved"
    assert quality["approved"] == {"who": "ana", "at": NOW.isoformat(), "why": "a fair"}
    assert "rentals_plausible" in quality["failed"]
    assert set(results(store)[-1]["verdict"]) == {"approved"}
    land(store, table(station(3, total_rental=6000)), 2)
    assert [one.outcome for one in compact()] == ["quarantined"], "another content was not approved"


def test_an_approval_lying_under_another_name_approves_nothing(store, compact):
    land(store, good(**BAD), 1)
    compact()
    (entry,) = waiting_entries(store, DATASET)
    decide(store, entry, "approved")
    land(store, table(station(3, total_rental=6000)), 2)
    compact()
    (newer,) = waiting_entries(store, DATASET)
    body = store.get(approval_key(DATASET.name, HOUR, entry.digest)).body
    store.put(approval_key(DATASET.name, HOUR, newer.digest), body)
    assert [one.outcome for one in compact()] == ["quarantined"]


def test_a_rejection_is_said_and_an_approval_may_follow_it(store, compact):
    land(store, good(**BAD), 1)
    compact()
    (entry,) = waiting_entries(store, DATASET)
    decide(store, entry, "rejected", "a broken lock")
    assert waiting_entries(store, DATASET) == []
    (done,) = compact()
    assert done.outcome == "quarantined"
    assert "Rejected by ana at 2026-03-04 10:00 UTC: a broken lock" in done.error
    decide(store, entry, "approved", "it was true after all")
    assert [one.outcome for one in compact()] == ["published"]


def test_a_sealed_hour_without_facts_is_published_empty(store, compact):
    store.put(seal_key(DATASET.name, HOUR, Version(0, 1, 1)), b'{"writer": "station_hourly"}')
    (done,) = compact()
    assert (done.outcome, done.status, done.rows) == ("published", "final", 0)
    assert "has_rows" in published(store).quality["not_evaluated"]


def test_the_same_rows_are_judged_once_though_the_fold_asks_again(store, compact):
    land(store, good(), 1)
    store.put(seal_key(DATASET.name, HOUR, Version(0, 1, 2)), b'{"writer": "station_hourly"}')
    (done,) = compact()
    assert (done.status, done.rev) == ("final", 2)
    assert len(results(store)) == 1
    assert published(store).quality["outcome"] == "passed"


def test_a_dataset_without_a_suite_is_not_published(store, tmp_path):
    with pytest.raises(SuiteError, match="is missing"):
        auditor_of(store, [DATASET], tmp_path)
