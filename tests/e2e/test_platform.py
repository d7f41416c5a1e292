"""The main job under Airflow: published hours are right, and supervision survives what happens to it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime

import psutil
import pytest
from confluent_kafka import Consumer, TopicPartition

from millrace.catalog import load_catalog
from millrace.control.launcher import StreamHost
from millrace.control.status import DriverStatus, newest_status
from millrace.doctor.finding import Finding
from millrace.settings import PROJECT_ROOT
from tests.conftest import wait_until
from tests.e2e.conftest import Platform
from tests.integration.streams import rows_in
from tests.integration.test_order_stream import SUMS, row_key
from tests.integration.test_station_stream import key_of, row_of
from tests.oracles.orders import book_of
from tests.oracles.stations import Message, movements

pytestmark = pytest.mark.stack
STREAM = "station_hourly"
AIRFLOW = ("airflow-api-server", "airflow-scheduler", "airflow-dag-processor", "airflow-triggerer")


def driver(platform: Platform) -> DriverStatus | None:
    return newest_status(platform.store, STREAM)


def running_driver(platform: Platform, since: int) -> DriverStatus:
    """The driver of a later epoch than `since`, once it runs and has said so."""
    found: list[DriverStatus] = []

    def runs() -> bool:
        status = driver(platform)
        if status is not None and status.driver_epoch > since and status.state == "running":
            found.append(status)
        return bool(found)

    wait_until(runs, 180, f"a driver after epoch {since} to run", every=0.5)
    return found[-1]


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
def past_day(platform: Platform) -> None:
    """Everything of the past is counted and published, however slow the machine (`up` waits only so long)."""

    waiting = {}
    for name, topic in ((STREAM, "station_polls"), ("order_metrics", "orders")):
        status = newest_status(platform.store, name)
        assert status is not None
        waiting[name, topic] = sum(status.end_offsets[topic].values())

    def caught_up() -> bool:
        found = {key: newest_status(platform.store, key[0]) for key in waiting}
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


@pytest.mark.usefixtures("past_day")
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


@pytest.mark.usefixtures("past_day")
def test_the_published_orders_equal_a_recount_of_what_is_in_kafka(platform: Platform) -> None:
    dataset = load_catalog(PROJECT_ROOT / "catalog").datasets["orders_hourly"]
    found, _ = rows_in(platform.store, dataset)
    rows = {row_key(row): tuple(row[name] for name in SUMS) for row in found}
    truth = book_of(records(platform, "orders"), late_by=3600).rows
    newest_hour = max(hour for _, hour in rows)
    assert rows == {key: row for key, row in truth.items() if key[1] <= newest_hour}
    assert sum(row[0] for row in rows.values()) > 10_000


@pytest.mark.usefixtures("past_day")
def test_compaction_by_hand_tells_who_listens(platform: Platform) -> None:
    events = platform.api.get("/api/v2/assets/events?limit=1000")["asset_events"]
    for dataset in ("hourly_summary", "orders_hourly"):
        of_dataset = [event["extra"] for event in events if str(event.get("name")) == dataset]
        announced = {extra["hour"] for extra in of_dataset if extra.get("hour")}
        assert len(announced) == len(list(platform.store.list_objects(f"{dataset}/"))) > 0


def test_the_doctor_finds_nothing_wrong_and_finds_what_is_made_wrong(platform: Platform) -> None:
    assert "A look at everything" in platform.up_output
    platform.api.pause("quality_daily", paused=True)
    try:
        done = platform.millrace("doctor", "--json")
    finally:
        platform.api.pause("quality_daily", paused=False)
    assert done.returncode == 0, done.stdout
    findings = [Finding(**one) for one in json.loads(done.stdout)]
    said = [one.says for one in findings if one.level == "warning"]
    # The embedded S3 server checks If-Match before it writes: how often that shows is a matter of chance.
    assert [one for one in said if "under a race" not in one] == ["quality_daily is paused: no day is judged"]
    fine = "; ".join(one.says for one in findings if one.level == "fine")
    for part in ("it takes their tokens", "creating under a race: one winner", "pool 'publish' has 1 slot"):
        assert part in fine
    assert fine.count("its clock and the one here agree") == 2, "Kafka's and the store's"


def test_settings_with_which_all_is_healthy_and_no_task_works_are_found(platform: Platform) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "millrace.doctor.airflow_config"],
        env=platform.component() | {"AIRFLOW__API_AUTH__JWT_ISSUER": "another"},
        capture_output=True,
        text=True,
        timeout=90,
    )
    (found,) = (one for one in json.loads(done.stdout) if one["level"] == "error")
    assert "every task would fail" in found["says"]


def test_airflow_killed_as_a_whole_leaves_the_driver_alone_and_supervises_it_again(
    platform: Platform,
) -> None:
    before = driver(platform)
    assert before is not None
    victims = []
    for name in AIRFLOW:
        process = psutil.Process(platform.supervisor.state(name).pid)
        victims += [process, *process.children(recursive=True)]
    for victim in victims:
        victim.kill()
    psutil.wait_procs(victims, timeout=10)

    wait_until(lambda: platform.api.unhealthy() == [], 120, "Airflow to be back", every=1)
    after = driver(platform)
    assert after is not None
    assert (after.driver_epoch, after.pid, after.state) == (before.driver_epoch, before.pid, "running")
    # The host would not start this one again by itself: only supervision does.
    StreamHost.of(platform.settings).stop(
        STREAM, within=load_catalog(PROJECT_ROOT / "catalog").streams[STREAM].stop_within
    )
    assert not psutil.pid_exists(before.pid)
    running_driver(platform, since=before.driver_epoch)


def test_a_killed_driver_is_back_and_loses_nothing(platform: Platform) -> None:
    before = driver(platform)
    assert before is not None
    os.kill(before.pid, signal.SIGKILL)
    after = running_driver(platform, since=before.driver_epoch)
    end = sum(after.end_offsets["station_polls"].values())

    def caught_up() -> bool:
        status = driver(platform)
        return status is not None and sum(status.offsets["station_polls"].values()) >= end

    wait_until(caught_up, 180, "the new driver to have everything", every=0.5)
