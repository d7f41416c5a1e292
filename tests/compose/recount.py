"""What must have been published of what is in Kafka: a plain consumer, plain Python, and the difference row by row.

Nothing of the pipeline takes part: the topics are read from their first record to their last, the oracles count them,
and the published hours are read by an ordinary Parquet reader.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from confluent_kafka import Consumer, TopicPartition

from tests.integration.test_order_stream import SUMS, row_key
from tests.integration.test_station_stream import key_of, row_of
from tests.oracles.orders import Book, book_of
from tests.oracles.posts import posts_of, tags_by_hour
from tests.oracles.stations import Message, movements

ANSWER_WITHIN = 30.0
MOST_TOLD = 20

Key = tuple[Hashable, ...]
"""What a row is about; the hour, counted since the epoch, comes last."""
Values = tuple[object, ...]


@dataclass(frozen=True)
class Record:
    """One record of a topic. `arrived`: the broker's time, epoch milliseconds."""

    key: bytes | None
    value: bytes
    arrived: int


@dataclass(frozen=True)
class Recount:
    """How the truth about a stream's dataset is found."""

    stream: str
    topic: str
    dataset: str
    truth: Callable[[Sequence[Record]], Mapping[Key, Values]]
    row: Callable[[dict[str, Any]], tuple[Key, Values]]
    """Key and values of a published row."""
    holes: Callable[[Sequence[Record]], list[str]]
    """What is wrong with what the feed has brought: a record that it left out, or brought twice."""


def read_topic(bootstrap: str, topic: str) -> list[Record]:
    """Every record of the topic's only partition, up to its end as it is now."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "recount", "enable.auto.commit": False})
    try:
        begin, end = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=ANSWER_WITHIN)
        assert begin == 0, f"{topic} no longer holds its first records"
        consumer.assign([TopicPartition(topic, 0, 0)])
        found: list[Record] = []
        while len(found) < end:
            records = consumer.consume(min(10_000, end - len(found)), ANSWER_WITHIN)
            assert records, f"{topic}: Kafka says nothing more after {len(found)} of {end} records"
            for one in records:
                assert one.error() is None, one.error()
                found.append(Record(one.key(), one.value() or b"", one.timestamp()[1]))
        return found
    finally:
        consumer.close()


def differences(expected: Mapping[Key, Values], found: Iterable[tuple[Key, Values]]) -> list[str]:
    """Every row that is missing, too many, there twice or other than it should be, in words."""
    seen: dict[Key, Values] = {}
    wrong = []
    for key, values in found:
        if key in seen:
            wrong.append(f"{_told(key)}: published twice")
        seen[key] = values
    for key in sorted(expected.keys() | seen.keys(), key=repr):
        if expected.get(key) != seen.get(key):
            wrong.append(f"{_told(key)}: published {seen.get(key)}, counted {expected.get(key)}")
    return wrong


def in_short(wrong: Sequence[str]) -> str:
    more = len(wrong) - MOST_TOLD
    return "\n".join(
        [f"{len(wrong)} differences", *wrong[:MOST_TOLD], *([f"and {more} more"] if more > 0 else [])]
    )


def hour_of(key: Key) -> int:
    hour = key[-1]
    assert isinstance(hour, int)
    return hour


def stations(records: Sequence[Record]) -> Mapping[Key, Values]:
    messages = []
    for one in records:
        poll = json.loads(one.value)
        counts = tuple((station["station_id"], station["bikes"]) for station in poll["stations"])
        messages.append(Message(poll["system_id"], poll["observed_at"], one.arrived // 1000, counts))
    return dict(movements(messages, late_by=7200, max_gap=7200).rows)


def book(records: Sequence[Record]) -> Book:
    return book_of([(one.value, one.arrived) for one in records], late_by=3600)


def hashtags(records: Sequence[Record]) -> Mapping[Key, Values]:
    return dict(tags_by_hour(posts_of([(one.key, one.value, one.arrived) for one in records], late_by=600)))


def missing_polls(records: Sequence[Record]) -> list[str]:
    """The city polls on a grid, and fills its own gaps: no poll may be missing, nor come later than a newer one."""
    times = [json.loads(one.value)["observed_at"] for one in records]
    steps = {after - before for before, after in pairwise(times)}
    return [] if len(steps) <= 1 and min(steps, default=1) > 0 else [f"polls are {sorted(steps)} s apart"]


def missing_numbers(what: str, numbers: Sequence[int]) -> list[str]:
    """Orders and posts are numbered from 1: each number once, in order."""
    for expected, number in enumerate(numbers, start=1):
        if number != expected:
            return [f"{what} {number} comes where {expected} should"]
    return []


def _order_ids(records: Sequence[Record]) -> list[str]:
    return missing_numbers("order", [int(one.value.split(b",")[1]) for one in records])


def _post_ids(records: Sequence[Record]) -> list[str]:
    return missing_numbers("post", [int(json.loads(one.value)["post_id"].split("-")[-1]) for one in records])


def _tag_row(row: dict[str, Any]) -> tuple[Key, Values]:
    hour = int(row["window_start"].timestamp()) // 3600
    return (row["source"], row["tag"], hour), (row["posts"], row["uses"])


def _told(key: Key) -> str:
    return f"{datetime.fromtimestamp(hour_of(key) * 3600, UTC):%Y-%m-%d %Hh} {'/'.join(map(str, key[:-1]))}"


RECOUNTS = (
    Recount(
        "station_hourly",
        "station_polls",
        "hourly_summary",
        stations,
        lambda row: (key_of(row), row_of(row)),
        missing_polls,
    ),
    Recount(
        "order_metrics",
        "orders",
        "orders_hourly",
        lambda records: dict(book(records).rows),
        lambda row: (row_key(row), tuple(row[name] for name in SUMS)),
        _order_ids,
    ),
    Recount("trending_hashtags", "posts", "hashtags_hourly", hashtags, _tag_row, _post_ids),
)
