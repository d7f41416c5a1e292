"""Polls -> Kafka -> driver -> landing -> compaction -> read back by path, against the oracle, row by row."""

from __future__ import annotations

import random
import signal
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from millrace.control import exit_codes
from millrace.control.epochs import claim_epoch
from millrace.control.execute import prepare
from millrace.control.order import OrderRefused, give_order
from millrace.settings import Settings
from millrace.store import open_store
from spark_apps.runtime.carried_state import CarriedState, Manifest
from spark_apps.runtime.ordered_reset import check_reset, reset_as_ordered
from tests.conftest import wait_until
from tests.integration.streams import (
    StreamUnderTest,
    compact,
    end_of_input,
    kill,
    make_stream,
    poll,
    published_rows,
    rejected_rows,
)
from tests.oracles.stations import Key, Message, Row, movements

pytestmark = pytest.mark.stack
T0 = 1_750_000_000 // 3600 * 3600


@pytest.fixture
def stream(tmp_path: Path, store_settings: Settings, kafka: str) -> StreamUnderTest:
    return make_stream(tmp_path, store_settings, kafka, max_messages_per_batch=15)


def city(system: str, seed: int, polls: int, start: int = T0) -> list[Message]:
    """Random walks of 12 stations, polled about every 5 minutes, some polls missing or out of order."""
    dice = random.Random(seed)
    bikes = {f"st{number}": dice.randint(0, 20) for number in range(12)}
    messages = []
    for number in range(polls):
        for station in bikes:
            bikes[station] = min(20, max(0, bikes[station] + dice.choice([0, 0, 0, 1, -1, 2, -2])))
        time_ = start + number * 300 + dice.randint(0, 20)
        seen = tuple((name, count) for name, count in bikes.items() if dice.random() < 0.97)
        messages.append(
            (time_ + dice.choice([0, 0, 0, 0, 2000, 6000, 9000]), Message(system, time_, 1 << 40, seen))
        )
    messages.sort(key=lambda pair: pair[0])
    return [message for _, message in messages]


def interleaved(*histories: list[Message], seed: int = 1) -> list[Message]:
    """Several histories in one topic, each in its own order."""
    dice = random.Random(seed)
    waiting = [list(history) for history in histories]
    merged = []
    while any(waiting):
        merged.append(dice.choice([history for history in waiting if history]).pop(0))
    return merged


def read_published(stream: StreamUnderTest) -> tuple[dict[Key, Row], set[str]]:
    """Every published row by its key, and the states of the hours."""
    rows, states = published_rows(stream)
    return {key_of(row): row_of(row) for row in rows}, states


def key_of(row: dict[str, Any]) -> Key:
    return row["system_id"], row["station_id"], int(row["window_start"].timestamp()) // 3600


def row_of(row: dict[str, Any]) -> Row:
    return (
        row["total_rental"],
        row["total_return"],
        row["observations"],
        row["gaps"],
        int(row["last_observed_at"].timestamp()),
        row["bikes_at_end"],
    )


def test_killed_three_times_with_two_systems_repeats_and_garbage_it_is_exact(stream: StreamUnderTest) -> None:
    dice = random.Random(7)
    messages = interleaved(city("north", 1, 140), city("south", 2, 140, start=T0 + 1800))
    messages += messages[100:160]  # the same polls a second time: repeats, and some of them too late
    records = [poll(message.system_id, message.observed_at, message.stations) for message in messages]
    garbage = [
        (b"north", b"not json"),
        (b"north", b""),
        (b"north", b'{"schema":1,"kind":"poll","system_id":"north","observed_at":5.5,"stations":[]}'),
        (b"south", poll("north", T0, [("st1", 3)])[1]),
        (b"north", b'{"schema":1}\n{"schema":1}'),
        poll("north", int(time.time()) + 86_400, [("st1", 3)]),
        poll("south", T0 + 100, [("st1", -3)]),
    ]
    for record in garbage:
        records.insert(dice.randint(0, len(records)), record)
    records += [end_of_input("north", T0), end_of_input("south", T0)]
    truth = movements(messages, late_by=7200, max_gap=7200)

    quarter = len(records) // 4
    for life, chosen in enumerate(dice.sample(["all of it", "its Python", "its JVM"], 3)):
        stream.send(records[life * quarter : (life + 1) * quarter])
        with stream.driver() as process:
            stream.wait_for_offset(life * quarter + 1, process)  # so this life has committed something
            time.sleep(dice.random())
            kill(process, chosen)
    stream.send(records[3 * quarter :])
    with stream.driver() as process:
        stream.wait_for_offset(len(records), process)
        compact(stream)
        rows, states = read_published(stream)
        assert rows == truth.rows
        assert states == {"final"}
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == exit_codes.STOPPED
    status = stream.status()
    assert status is not None
    assert (status.state, status.exit_code, status.lag) == ("stopped", 0, 0)
    totals = stream.manifest().totals
    too_late = sum(reason == "too_late" for _, reason in truth.rejected)
    assert totals["records"] == len(records)
    assert totals["rejected.too_late"] == too_late > 0
    assert totals["rejected.future"] == 1
    assert sum(count for name, count in totals.items() if name.startswith("rejected.")) == too_late + len(
        garbage
    )
    assert {row["value"] for row in rejected_rows(stream)} >= {b"not json", b'{"schema":1}\n{"schema":1}'}


def test_a_lost_checkpoint_costs_nothing_and_a_newer_driver_fences_the_older(stream: StreamUnderTest) -> None:
    messages = city("north", 3, 120)
    records = [poll(message.system_id, message.observed_at, message.stations) for message in messages]
    stream.send(records[:60])
    with stream.driver() as process:
        stream.wait_for_offset(60, process)
        claim_epoch(open_store(stream.settings), "station_hourly", spec_revision=1)
        assert process.wait(120) == exit_codes.FENCED
    checkpoint = stream.settings.home / "streams" / "station_hourly" / "checkpoint"
    checkpoint.rename(checkpoint.with_name("lost"))
    stream.send([*records[60:], end_of_input("north", T0)])
    with stream.driver() as process:
        stream.wait_for_offset(len(records) + 1, process)
    assert stream.manifest().generation == 2
    compact(stream)
    rows, states = read_published(stream)
    assert rows == movements(messages, late_by=7200, max_gap=7200).rows
    assert states == {"final"}


def test_a_topic_that_lost_what_comes_next_is_refused_in_words(stream: StreamUnderTest) -> None:
    store = open_store(stream.settings)
    CarriedState(store, "station_hourly", 1).commit(
        Manifest(schema=1, stream="station_hourly", generation=1, batch=4, buckets=1, offsets={"0": 1000})
    )
    with stream.driver() as process:
        wait_until(lambda: process.poll() is not None, 180, "the driver to refuse")
        assert process.returncode == exit_codes.BAD_CONFIGURATION
    assert "the next record is offset 1000, but Kafka ends at 0" in stream.log()
    assert "Traceback" not in stream.log()


def test_a_reset_counts_the_open_hours_anew_and_leaves_the_others(stream: StreamUnderTest) -> None:
    now = int(time.time()) // 3600 * 3600 - 6 * 3600
    messages = [replace(m, kafka_at=1 << 40) for m in city("north", 5, 60, start=now)]
    stream.send(poll(m.system_id, m.observed_at, m.stations) for m in messages)
    with stream.driver() as process:
        stream.wait_for_offset(60, process)
    compact(stream)
    store, spec = open_store(stream.settings), stream.catalog.streams["station_hourly"]
    here = replace(stream.settings, kafka=stream.kafka)
    first_complete = datetime.fromtimestamp(stream.manifest().sealed_before * 3600, UTC)
    for action in ("start", "reset"):
        given = give_order(
            store,
            stream.catalog.streams,
            spec.name,
            action,
            who="ada",
            why="a test",
            check_reset=lambda spec: check_reset(store, here, spec),
        )
    order = prepare(store, here.home, spec.name)
    assert (order.reset_revision, given.desired.spec_revision) == (2, 2)
    done = reset_as_ordered(store, here, order.spec, order.reset_revision)
    assert done.outcome == "done"
    assert done.says.startswith(
        f"station_hourly: generation 2 counts from {first_complete:%Y-%m-%d %H:%M} UTC on, reading from "
        "{'0': 0}; the old checkpoint is kept at "
    )
    assert prepare(store, here.home, spec.name).reset_revision is None, "once"
    stream.send([end_of_input("north", now)])
    with stream.driver() as process:
        wait_until(
            lambda: stream.manifest().generation == 2, 240, "the new generation's first batch", every=0.2
        )
        stream.wait_for_offset(61, process)
    compact(stream)
    rows, states = read_published(stream)
    assert rows == movements(messages, late_by=7200, max_gap=7200).rows
    assert states == {"final"}
    assert not list(open_store(stream.settings).list_objects("rejected/facts/"))
    cut_off(stream, before=30)
    objects, files = {one.key for one in store.list_objects("")}, sorted(here.home.rglob("*"))
    with pytest.raises(OrderRefused, match=r"Kafka no longer holds .* The stream goes on as it is"):
        give_order(
            store,
            stream.catalog.streams,
            spec.name,
            "reset",
            who="ada",
            why="a test",
            check_reset=lambda spec: check_reset(store, here, spec),
        )
    assert {one.key for one in store.list_objects("")} == objects
    refused = reset_as_ordered(store, here, spec, 9)
    assert (refused.outcome, sorted(here.home.rglob("*"))) == ("refused", files)


def cut_off(stream: StreamUnderTest, before: int) -> None:
    """As retention does: the topic begins at a later offset."""
    client = AdminClient({"bootstrap.servers": stream.kafka})
    for future in client.delete_records([TopicPartition(stream.topic, 0, before)]).values():
        future.result(timeout=30)
