"""`millrace status` for people and for programs."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from rich.console import Console

from millrace.local.overview import FeedLine, Overview, ProcessLine, StreamLine, ago, as_json, tables

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
KAFKA = ProcessLine("kafka", "RUNNING", NOW - timedelta(minutes=5), 170_000_000, 19092, 7, "")
HOST = ProcessLine("streamhost", "FATAL", NOW - timedelta(seconds=9), 0, None, None, "exited too quickly")
CITY = FeedLine("feed-city", "running", NOW, 4321, 0, NOW - timedelta(seconds=14), None)
AWAY = FeedLine(
    "feed-gbfs", "stalled", NOW, 12, 5, NOW - timedelta(hours=3), "its source has not answered for 3.0 h"
)
STREAM = StreamLine("station_hourly", "running", NOW, 1234, 56789, 3, NOW - timedelta(hours=2), None)


@pytest.mark.parametrize(
    ("age", "said"),
    [
        (timedelta(seconds=-3), "0 s"),
        (timedelta(seconds=119), "119 s"),
        (timedelta(minutes=5), "5 min"),
        (timedelta(hours=3), "3 h"),
        (timedelta(days=4), "4 d"),
    ],
)
def test_ages_are_short(age: timedelta, said: str) -> None:
    assert ago(NOW - age, NOW) == said


def shown(overview: Overview, width: int = 140) -> str:
    console = Console(width=width, record=True, file=StringIO())
    for table in tables(overview, NOW):
        console.print(table)
    return console.export_text()


def test_the_tables_say_what_runs_and_how_far_the_streams_are() -> None:
    text = shown(Overview(True, [KAFKA, HOST], [STREAM], None))
    for words in ("kafka", "5 min", "170 MB", "19092", "fatal", "exited too quickly", "56,789", "10:00"):
        assert words in text


def test_a_store_that_is_away_is_said_and_the_processes_are_still_shown() -> None:
    text = shown(Overview(True, [KAFKA], [], "LIST control/ at nowhere: refused"))
    assert "kafka" in text
    assert "nothing is known about the streams: LIST control/ at nowhere: refused" in text


def test_json_can_be_read_back() -> None:
    found = json.loads(json.dumps(as_json(Overview(True, [KAFKA, HOST], [STREAM], None))))
    assert found["healthy"] is False
    assert found["processes"][0]["since"] == "2026-03-01T11:55:00+00:00"
    assert found["streams"][0]["facts"] == 56789


def test_what_waits_in_a_source_without_offsets_is_unknown_not_nothing() -> None:
    socket = StreamLine("word_count", "running", NOW, 12, 0, None, None, None)
    assert "unknown" in shown(Overview(True, [KAFKA], [socket], None))
    never = StreamLine("word_count", "never started", None, 0, 0, None, None, None)
    assert "unknown" not in shown(Overview(True, [KAFKA], [never, STREAM], None))


def test_the_feeds_are_shown_with_what_is_wrong_with_them() -> None:
    text = shown(Overview(True, [KAFKA], [STREAM], None, [CITY, AWAY]))
    for words in ("feed-city", "4,321", "14 s", "stalled", "its source has not answered for 3.0 h"):
        assert words in text
    assert "problem" not in shown(Overview(True, [KAFKA], [STREAM], None, [CITY]))


def test_a_stream_whose_driver_is_silent_is_not_healthy_though_its_last_word_was_running() -> None:
    silent = replace(STREAM, problem="silent: driver epoch 3 has not written for 3 h")
    overview = Overview(True, [KAFKA], [silent], None)
    assert not overview.healthy
    assert "silent: driver epoch 3 has not written for 3 h" in shown(overview, width=200)


def test_what_was_said_is_shown_as_it_was_also_with_brackets() -> None:
    said = "[/data/in] has gone, and [red] with it"
    host, stream = replace(HOST, reason=said), replace(STREAM, error=said)
    text = shown(Overview(True, [host], [stream], None, [replace(AWAY, problem=said)]), width=200)
    assert text.count(said) == 3
    assert said in shown(Overview(True, [host], [], said))


def test_a_feed_that_brings_nothing_is_not_healthy() -> None:
    assert Overview(True, [KAFKA], [STREAM], None, [CITY]).healthy
    assert not Overview(True, [KAFKA], [STREAM], None, [CITY, AWAY]).healthy
