"""The main job under Airflow, with everything real: what is published equals a recount of what is in Kafka.

A stream that cannot run begins to fail beside it (test_outage.py).
"""

from __future__ import annotations

import json
import os
import signal
from datetime import UTC, datetime

import pytest
from confluent_kafka import Consumer, TopicPartition

from millrace.catalog import load_catalog
from millrace.settings import PROJECT_ROOT
from tests.conftest import wait_until
from tests.e2e.conftest import Platform
from tests.integration.streams import rows_in
from tests.integration.test_order_stream import SUMS, row_key
from tests.integration.test_station_stream import key_of, row_of
from tests.oracles.orders import book_of
from tests.oracles.stations import Message, movements

pytestmark = [pytest.mark.stack, pytest.mark.usefixtures("past_day")]
STATIONS, ORDERS = "station_hourly", "order_metrics"


def records(platform: Platform, topic: str) -> list[tuple[bytes, int]]:
    """Every value in a topic, in order, with the broker's time in epoch milliseconds."""
    consumer = Consumer(
        {"bootstrap.servers": platform.settings.kafka, "group.id": "e2e", "enable.auto.commit": False}
    )
    partition = TopicPartition(topic, 0, 0)
    _, end = consumer.get_watermark_offsets(partition, timeout=10)
    consumer.assign([partition])
    found: list[tuple[bytes, int]] = []
    while len(found) < end:
        for record in consumer.consume(min(1000, end - len(found)), timeout=10):
            assert record.error() is None
            found.append((record.value(), record.timestamp()[1]))
    consumer.close()
    return found


def poll_of(value: bytes, arrived: int) -> Message:
    poll = json.loads(value)
    stations = tuple((station["station_id"], station["bikes"]) for station in poll["stations"])
    return Message(poll["system_id"], poll["observed_at"], arrived // 1000, stations)


@pytest.fixture(scope="module")
def past_day(platform: Platform, doom: None) -> None:
    """Everything of the past is counted and published. `up` does that, but waits only so long on a slow machine."""
    if "✓ The past day" in platform.up_output:
        return
    waiting = {}
    for name, topic in ((STATIONS, "station_polls"), (ORDERS, "orders")):
        status = platform.driver(name)
        assert status is not None
        waiting[name, topic] = sum(status.end_offsets[topic].values())

    def caught_up() -> bool:
        found = {key: platform.driver(key[0]) for key in waiting}
        return all(
            (status := found[key]) is not None and sum(status.offsets[key[1]].values()) >= goal
            for key, goal in waiting.items()
        )

    wait_until(caught_up, 240, "the streams to have read the past", every=0.5)
    run = platform.api.trigger("compact_hourly")
    wait_until(
        lambda: platform.api.run_state("compact_hourly", run) in ("success", "failed"),
        240,
        "the run",
        every=1,
    )
    assert platform.api.run_state("compact_hourly", run) == "success"


def test_the_published_day_equals_a_recount_of_what_is_in_kafka(platform: Platform) -> None:
    dataset = load_catalog(PROJECT_ROOT / "catalog").datasets["hourly_summary"]
    found, states = rows_in(platform.store, dataset)
    rows = {key_of(row): row_of(row) for row in found}
    polls = [poll_of(*record) for record in records(platform, "station_polls")]
    truth = movements(polls, late_by=7200, max_gap=7200).rows
    newest_hour = max(hour for _, _, hour in rows)
    assert len({hour for _, _, hour in rows}) >= 23
    assert states <= {"final", "provisional"}
    assert "final" in states
    # The newest published hours may have been published before their last polls: only whole ones compare.
    complete = int(datetime.now(UTC).timestamp()) // 3600
    assert newest_hour < complete
    expected = {key: row for key, row in truth.items() if key[2] <= newest_hour}
    assert rows == expected
    assert sum(row[0] for row in rows.values()) > 1000, "a city in which nobody rides proves nothing"


def test_the_published_orders_equal_a_recount_of_what_is_in_kafka(platform: Platform) -> None:
    dataset = load_catalog(PROJECT_ROOT / "catalog").datasets["orders_hourly"]
    found, _ = rows_in(platform.store, dataset)
    rows = {row_key(row): tuple(row[name] for name in SUMS) for row in found}
    truth = book_of(records(platform, "orders"), late_by=3600).rows
    newest_hour = max(hour for _, hour in rows)
    assert rows == {key: row for key, row in truth.items() if key[1] <= newest_hour}
    assert sum(row[0] for row in rows.values()) > 10_000


def test_who_listens_is_told_of_every_published_hour(platform: Platform) -> None:
    events = platform.api.get("/api/v2/assets/events?limit=1000")["asset_events"]
    for dataset in ("hourly_summary", "orders_hourly"):
        of_dataset = [event["extra"] for event in events if str(event.get("name")) == dataset]
        announced = {extra["hour"] for extra in of_dataset if extra.get("hour")}
        assert len(announced) == len(list(platform.store.list_objects(f"{dataset}/"))) > 0


def test_a_killed_driver_is_back_and_loses_nothing(platform: Platform) -> None:
    before = platform.driver(STATIONS)
    assert before is not None
    os.kill(before.pid, signal.SIGKILL)
    after = platform.running_driver(STATIONS, since=before.driver_epoch)
    end = sum(after.end_offsets["station_polls"].values())

    def caught_up() -> bool:
        status = platform.driver(STATIONS)
        return status is not None and sum(status.offsets["station_polls"].values()) >= end

    wait_until(caught_up, 180, "the new driver to have everything", every=0.5)
