from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from millrace_airflow.compaction import (
    CHUNK,
    MOST_CHUNKS,
    MOST_NAMED,
    SPARK_ABOVE,
    SPARK_PART,
    NotAnHour,
    failures_text,
    planned,
    requested_hour,
)

NOW = datetime(2026, 3, 1, 12, 34, tzinfo=UTC)
FIRST = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-01T10:00:00Z",
        "2026-03-01T10:00:00.000Z",
        "2026-03-01T10:00",
        "2026-03-01 10",
        "2026-03-01T15:30:00+05:30",
        " 2026-03-01T10:00:00+00:00 ",
    ],
)
def test_an_hour_may_be_written_in_any_usual_way(text):
    assert requested_hour(text, NOW) == datetime(2026, 3, 1, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("2026-03-01T10:30:00Z", "not the beginning of an hour: write 2026-03-01T10:00:00Z"),
        ("2026-03-01T10:00:00+05:30", "04:30:00 UTC, which is not the beginning of an hour"),
        ("2026-03-01T10:00:00.5Z", "not the beginning of an hour"),
        (
            "2026-03-01T12:00:00Z",
            "has not ended yet .* the latest that can be published is 2026-03-01T11:00:00Z",
        ),
        ("2027-03-01T12:00:00Z", "has not ended yet"),
        ("yesterday", "is not a time: write .* such as 2026-03-01T11:00:00Z"),
        ("", "is not a time"),
    ],
)
def test_what_is_no_hour_is_refused_with_words_that_help(text, words):
    with pytest.raises(NotAnHour, match=words):
        requested_hour(text, NOW)


@given(st.dictionaries(st.sampled_from(["a", "b", "c"]), st.integers(0, 200)), st.integers(0, 400))
def test_chunks_hold_every_due_hour_once_in_order_of_time(counts, spark_above):
    due = {
        name: [FIRST + timedelta(hours=number) for number in range(count)] for name, count in counts.items()
    }
    plan = planned(due.items(), spark_above)
    assert not (plan.chunks and plan.backlog), "an hour has one publisher"
    assert bool(plan.backlog) == (sum(counts.values()) > spark_above)
    assert plan.put_off == 0
    chunks = plan.chunks + plan.backlog
    for name, hours in due.items():
        mine = [hour for chunk in chunks if chunk["dataset"] == name for hour in chunk["hours"]]
        assert mine == [f"{hour:%Y-%m-%dT%H:00:00Z}" for hour in hours]
    assert all(0 < len(chunk["hours"]) <= CHUNK for chunk in plan.chunks)
    assert all(0 < len(chunk["hours"]) <= SPARK_PART for chunk in plan.backlog)
    assert len({chunk["name"] for chunk in chunks}) == len(chunks)


def test_a_day_after_an_outage_is_mapped_and_a_month_goes_to_spark():
    assert 24 <= SPARK_ABOVE < 31 * 24
    for count, to_spark in ((SPARK_ABOVE, False), (SPARK_ABOVE + 1, True)):
        plan = planned([("a", [FIRST + timedelta(hours=number) for number in range(count)])])
        assert (bool(plan.backlog), plan.hours) == (to_spark, count)


@pytest.mark.parametrize(("spark_above", "size"), [(10**6, CHUNK), (0, SPARK_PART)])
def test_what_is_too_much_for_one_run_is_put_off_and_counted(spark_above, size):
    hours = [FIRST + timedelta(hours=number) for number in range(MOST_CHUNKS * CHUNK + 30)]
    plan = planned([("a", hours)], spark_above)
    assert (plan.hours, plan.put_off) == (MOST_CHUNKS * CHUNK, 30)
    assert len(plan.chunks + plan.backlog) == MOST_CHUNKS * CHUNK // size
    assert len(plan.chunks) <= MOST_CHUNKS, "Airflow would not map more"


def test_a_list_of_failures_names_each_hour_and_says_what_to_do():
    text = failures_text([{"dataset": "a", "hour": "2026-03-01T10:00:00Z", "error": "no such generation"}])
    assert "a 2026-03-01T10:00:00Z: no such generation" in text
    assert "the next run tries again by itself" in text


def test_a_list_of_failures_that_nobody_would_read_is_cut():
    failed = [{"dataset": "a", "hour": str(number), "error": "e"} for number in range(MOST_NAMED + 7)]
    assert "  and 7 more\n" in failures_text(failed)
