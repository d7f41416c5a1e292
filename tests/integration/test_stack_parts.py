"""The broker and the S3 server of the embedded stack keep their promises."""

from __future__ import annotations

import threading
import uuid
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from millrace.local.kafka import KafkaServer
from millrace.local.ports import free_ports
from millrace.settings import Settings
from millrace.store import PreconditionFailed, S3Store, StoreUnavailable, open_store
from tests.conftest import running, wait_until

pytestmark = pytest.mark.stack


def test_kafka_loses_nothing_acknowledged_when_it_is_killed(jars: None, tmp_path: Path) -> None:
    server = KafkaServer(tmp_path / "kafka", *free_ports(2))
    server.prepare()
    acknowledged: set[bytes] = set()

    def note(error: object, message: object) -> None:
        if error is None:
            acknowledged.add(message.value())  # type: ignore[attr-defined]

    with running(server.command(), tmp_path / "log") as process:
        wait_until(server.is_ready, 60, "Kafka to start")
        admin = AdminClient({"bootstrap.servers": server.bootstrap})
        admin.create_topics([NewTopic("numbers", 1, 1)])["numbers"].result(30)
        producer = Producer({"bootstrap.servers": server.bootstrap, "acks": "all", "log_level": 0})
        for number in range(200_000):
            producer.produce("numbers", str(number).encode(), on_delivery=note)
            producer.poll(0)
            if len(acknowledged) > 20_000:
                break
        process.kill()
        process.wait()
    # What is not acknowledged now never counts: this producer is thrown away.
    producer.purge()

    server.prepare()
    with running(server.command(), tmp_path / "log"):
        wait_until(server.is_ready, 60, "Kafka to start again")
        consumer = Consumer({"bootstrap.servers": server.bootstrap, "group.id": "check", "log_level": 0})
        partition = TopicPartition("numbers", 0, 0)
        consumer.assign([partition])
        end = consumer.get_watermark_offsets(partition, timeout=30)[1]
        kept: set[bytes] = set()
        while consumer.position([partition])[0].offset < end:
            kept.update(message.value() for message in consumer.consume(10_000, timeout=1))
        consumer.close()
    assert len(acknowledged) > 20_000
    assert acknowledged <= kept


def test_only_one_of_many_creates_an_object(store: S3Store) -> None:
    for round_number in range(10):
        key = f"race/{round_number}"
        barrier = threading.Barrier(8)
        winners: list[int] = []

        def write(
            number: int, key: str = key, barrier: threading.Barrier = barrier, winners: list[int] = winners
        ) -> None:
            barrier.wait()
            try:
                store.put(key, b"%d" % number, if_absent=True)
            except PreconditionFailed:
                return
            winners.append(number)

        threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(winners) == 1
        assert store.get(key).body == b"%d" % winners[0]


def test_a_stale_etag_is_refused(store: S3Store) -> None:
    first = store.put("object", b"one")
    second = store.put("object", b"two", if_match=first)
    with pytest.raises(PreconditionFailed):
        store.put("object", b"three", if_match=first)
    stored = store.get("object")
    assert (stored.body, stored.etag) == (b"two", second)


def test_wrong_credentials_are_refused(s3_settings: Settings) -> None:
    with pytest.raises(StoreUnavailable):
        open_store(replace(s3_settings, secret_key="wrong")).get("anything")


def test_a_cluster_id_may_begin_with_a_dash(
    jars: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One id in sixty-four does, and an argument parser takes it for an option."""
    monkeypatch.setattr("uuid.uuid4", lambda: uuid.UUID(bytes=b"\xf8" + b"\x01" * 15))
    server = KafkaServer(tmp_path, *free_ports(2))
    server.prepare()
    assert "cluster.id=-A" in (server.data / "meta.properties").read_text()


def test_the_temporary_file_of_a_put_under_way_is_not_listed(store: S3Store) -> None:
    store.put("state/manifest-0000000003.json", b"{}")
    store.put(f"state/manifest-0000000004.json-{uuid.uuid4()}", b"{")
    assert [info.key for info in store.list_objects("state/")] == ["state/manifest-0000000003.json"]
