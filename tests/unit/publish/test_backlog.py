"""The work of a backlog in the store: what is to be done, how far it is, what became of it."""

from __future__ import annotations

import pytest

from millrace.publish.backlog import (
    NoSuchWork,
    Part,
    forget,
    headway,
    note,
    noted,
    put_work,
    read_results,
    read_work,
    run_name,
    with_the_missing,
)
from millrace.publish.outcome import sum_text
from millrace.store import MemoryStore

RUN = run_name("manual__2026-03-01T10:00:00+00:00")
PARTS = [
    Part("trips", ("2026-03-01T00:00:00Z", "2026-03-01T01:00:00Z")),
    Part("a.b", ("2026-03-01T00:00:00Z",)),
]


def result(dataset: str, hour: str, outcome: str = "published", **values: object) -> dict[str, object]:
    return {"dataset": dataset, "hour": hour, "outcome": outcome, "set_aside": 0, "error": None} | values


@pytest.fixture
def store() -> MemoryStore:
    made = MemoryStore()
    put_work(made, RUN, PARTS)
    return made


def test_the_work_is_read_as_it_was_put_under_a_name_that_any_store_takes(store):
    assert RUN.isalnum()
    assert read_work(store, RUN) == PARTS
    assert [f"{hour:%d %H %z}" for hour in PARTS[0].times()] == ["01 00 +0000", "01 01 +0000"]


def test_what_became_of_an_hour_is_known_even_when_the_rest_never_comes(store):
    done = result("trips", "2026-03-01T00:00:00Z", rows=3)
    note(store, RUN, done)
    note(store, RUN, result("a.b", "2026-03-01T00:00:00Z", "quarantined", error="why"))
    assert noted(store, RUN) == {
        ("trips", "2026-03-01T00:00:00Z"): "published",
        ("a.b", "2026-03-01T00:00:00Z"): "quarantined",
    }
    first, missing, bad = with_the_missing(PARTS, read_results(store, RUN))
    assert first == done
    assert (missing["hour"], missing["outcome"]) == ("2026-03-01T01:00:00Z", "failed")
    assert "ended before it came to this hour" in missing["error"]
    assert bad["error"] == "why"


@pytest.mark.parametrize("outcomes", [["published", "unchanged"], ["failed", "published"]])
def test_an_hour_that_was_met_twice_was_published_if_it_ever_was(store, outcomes):
    for outcome in outcomes:
        note(store, RUN, result("trips", "2026-03-01T00:00:00Z", outcome))
    assert [one["outcome"] for one in read_results(store, RUN)] == ["published"]


def test_work_that_was_collected_says_so_and_leaves_nothing(store):
    note(store, RUN, result("trips", "2026-03-01T00:00:00Z"))
    forget(store, RUN)
    assert store.objects == {}
    with pytest.raises(NoSuchWork, match="Trigger compact_hourly anew"):
        read_work(store, RUN)


def test_work_that_is_ordered_again_begins_anew(store):
    note(store, RUN, result("trips", "2026-03-01T00:00:00Z"))
    put_work(store, RUN, PARTS[:1])
    assert (read_work(store, RUN), noted(store, RUN)) == (PARTS[:1], {})


@pytest.mark.parametrize(
    ("total", "outcomes", "seconds", "text"),
    [
        (300, [], 5.0, "0 of 300 hours (0 %), 0 not published"),
        (
            300,
            ["published"] * 148 + ["failed", "quarantined"],
            30.0,
            "150 of 300 hours (50 %), 2 not published, 5.0 hours/s, 30 s left",
        ),
        (
            8760,
            ["unchanged"] * 876,
            400.0,
            "876 of 8,760 hours (10 %), 0 not published, 2.2 hours/s, 60 min left",
        ),
        (2, ["published"] * 2, 4.0, "2 of 2 hours (100 %), 0 not published, 0.5 hours/s"),
    ],
)
def test_how_far_it_is_in_one_line(total, outcomes, seconds, text):
    assert headway(total, outcomes, seconds) == text


def test_the_sum_of_a_run_names_what_was_set_aside():
    results = [
        result("trips", "1", set_aside=1),
        result("trips", "2", set_aside=1),
        result("trips", "3", "unchanged"),
        result("a", "1", "failed"),
    ]
    assert sum_text(results) == "a: 1 failed; trips: 2 published, 1 unchanged, 2 objects set aside"
    assert sum_text([]) == ""
