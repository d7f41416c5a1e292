"""The trials' judgement can fail: whatever is lost, doubled or altered between a feed and a published hour shows."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from millrace.settings import PROJECT_ROOT
from tests.compose.recount import RECOUNTS, Key, Record, Values, differences
from tests.compose.run import images_named
from tests.compose.stack import _moment

HOUR = 1_750_000_000 // 3600
ORDERS = [
    Record(None, f"2026-03-01 09:20:0{number},{number},7,AAPL,{number},2.50,B".encode(), 1_800_000_000_000)
    for number in range(1, 7)
]
POLLS = [
    Record(
        b"city",
        json.dumps(
            {
                "system_id": "city",
                "observed_at": HOUR * 3600 + 30 * number,
                "stations": [{"station_id": "a", "bikes": number % 3}],
            }
        ).encode(),
        1_800_000_000_000,
    )
    for number in range(6)
]
POSTS = [
    Record(
        b"u1",
        json.dumps(
            {
                "schema": 1,
                "kind": "post",
                "source": "demo",
                "post_id": f"demo-1-{number}",
                "user_id": "u1",
                "posted_at": HOUR * 3_600_000 + number,
                "text": "#a #b",
                "tags": ["#a", "#b"],
            }
        ).encode(),
        1_800_000_000_000,
    )
    for number in range(1, 7)
]
SENT = {"station_polls": POLLS, "orders": ORDERS, "posts": POSTS}
ROWS: dict[Key, Values] = {("a", HOUR): (1, 2), ("b", HOUR): (3, 4), ("a", HOUR + 1): (5, 6)}


def test_equal_rows_in_any_order_are_no_difference() -> None:
    assert differences(ROWS, reversed(ROWS.items())) == []


@pytest.mark.parametrize("key", list(ROWS))
def test_a_row_that_is_lost_doubled_altered_or_made_up_is_a_difference(key: Key) -> None:
    rows = list(ROWS.items())
    lost = [pair for pair in rows if pair[0] != key]
    (told,) = differences(ROWS, lost)
    assert "published None" in told
    assert differences(ROWS, [*rows, (key, ROWS[key])]) != []
    assert differences(ROWS, [*lost, (key, (0, 0))]) != []
    assert differences({name: row for name, row in ROWS.items() if name != key}, rows) != []


@pytest.mark.parametrize("recount", RECOUNTS, ids=lambda one: one.stream)
def test_each_message_counts_in_its_recount_and_is_missed_when_a_feed_left_it_out(recount: object) -> None:
    (one,) = (one for one in RECOUNTS if one == recount)
    sent = SENT[one.topic]
    whole = one.truth(sent)
    assert whole
    assert one.holes(sent) == []
    for number in range(1, len(sent) - 1):
        without = sent[:number] + sent[number + 1 :]
        assert one.holes(without) != []
        assert differences(one.truth(without), whole.items()) != []
        assert one.holes([*sent[: number + 1], sent[number], *sent[number + 1 :]]) != [], "twice"


def test_values_of_a_message_count() -> None:
    altered = [*ORDERS[:-1], replace(ORDERS[-1], value=ORDERS[-1].value.replace(b"2.50", b"2.51"))]
    by_stream = {one.stream: one for one in RECOUNTS}
    truth = by_stream["order_metrics"].truth
    assert differences(truth(ORDERS), truth(altered).items()) != []


def test_the_images_of_the_project_are_found_and_its_own_are_not() -> None:
    found = images_named(PROJECT_ROOT)
    assert {name.partition(":")[0] for name in found} == {
        "apache/airflow",
        "apache/kafka",
        "postgres",
        "versity/versitygw",
    }


def test_docker_s_moments_are_read_to_the_microsecond() -> None:
    assert _moment("2026-03-01T09:20:00.123456789Z").microsecond == 123456
    assert _moment("2026-03-01T09:20:00Z") < _moment("2026-03-01T09:20:00.5Z")
