"""A file of orders -> feed -> Kafka -> driver -> metrics and facts, where Kafka wants TLS and a login for all of it."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from confluent_kafka import Consumer, TopicPartition

from millrace.control import exit_codes
from millrace.doctor.kafka import look_at_kafka
from millrace.kafka_access import JAAS, KafkaAccess, KafkaSecurity, librdkafka
from millrace.kafka_topics import KafkaUnavailable, ensure_topics
from millrace.settings import Settings
from millrace.store import open_store
from spark_apps.runtime.kafka_source import TopicOffsets
from tests.families import command_lines, family
from tests.integration.certificates import make_certificates
from tests.integration.secure_kafka import PASSWORD, SecureKafka, secure_kafka
from tests.integration.streams import StreamUnderTest, compact, make_stream, published_rows
from tests.integration.test_order_stream import SUMS, row_key
from tests.oracles.orders import book_of

pytestmark = pytest.mark.stack
LINES = 300
SECRETS = (PASSWORD, json.dumps(PASSWORD)[1:-1])
"""As it is, and as it would stand in a JSON object or a login of JAAS."""


@pytest.fixture(scope="module")
def guarded(jars: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureKafka]:
    with secure_kafka(tmp_path_factory.mktemp("guarded")) as kafka:
        yield kafka


def orders(seed: int) -> list[bytes]:
    dice = random.Random(seed)
    at = int(datetime(2026, 3, 1, 9, 20, tzinfo=UTC).timestamp())
    return [
        f"{datetime.fromtimestamp(at + 30 * number, UTC):%Y-%m-%d %H:%M:%S},{number},{dice.randint(1, 9)},"
        f"S{dice.randint(1, 9)},{dice.randint(1, 99)},{dice.choice(['51.00', '0.10'])},{dice.choice('BS')}".encode()
        for number in range(LINES)
    ]


def with_feed(stream: StreamUnderTest, file: Path) -> None:
    """A feed in the stream's catalog that sends a file to its topic."""
    feed = {"kind": "orders_replay", "topic": stream.topic, "options": {"file": str(file), "fast": True}}
    topics = {name: {"partitions": 1} for name in (*stream.catalog.topics, "dead_letters")}
    (stream.catalog_dir / "feeds.yaml").write_text(yaml.safe_dump({"guarded": feed}))
    (stream.catalog_dir / "topics.yaml").write_text(yaml.safe_dump(topics))


def metrics(guarded: SecureKafka, topic: str) -> dict[str, int]:
    """BUYS and SELLS over all messages of a new topic with one life of one driver."""
    options = {"group.id": "reader", "enable.auto.commit": False}
    consumer = Consumer(librdkafka(guarded.access) | options)
    _, end = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=10)
    consumer.assign([TopicPartition(topic, 0, 0)])
    found = {"BUYS": 0, "SELLS": 0}
    for message in (consumer.consume(1, 30)[0] for _ in range(end)):
        if message.key().decode() in found:
            found[message.key().decode()] += json.loads(message.value())["value"]
    consumer.close()
    return found


def with_secrets(stream: StreamUnderTest) -> list[str]:
    """Files of the home (logs, checkpoint, spec) and objects of the store in which a secret can be read."""
    store = open_store(stream.settings)
    bodies = {str(path): path.read_bytes() for path in stream.settings.home.rglob("*") if path.is_file()}
    bodies |= {info.key: store.get(info.key).body for info in store.list_objects("")}
    assert any("checkpoint" in name for name in bodies)
    assert any("/status/" in name for name in bodies)
    return [name for name, body in bodies.items() if any(secret.encode() in body for secret in SECRETS)]


def test_a_stream_is_exact_over_tls_and_a_login_and_no_secret_is_anywhere(
    tmp_path: Path, store_settings: Settings, guarded: SecureKafka
) -> None:
    stream = make_stream(
        tmp_path, store_settings, guarded.access, "order_metrics", spark_conf={"spark.log.level": "INFO"}
    )
    lines = orders(1)
    file = tmp_path / "orders.txt"
    file.write_bytes(b"\n".join(lines) + b"\n")
    with_feed(stream, file)
    arrived = int(time.time() * 1000)
    feed = subprocess.run(
        [sys.executable, "-m", "millrace", "feed", "run", "guarded"],
        env=stream.environment | guarded.environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert feed.returncode == 0, feed.stderr
    assert PASSWORD not in feed.stdout + feed.stderr
    with stream.driver(**guarded.environment) as process:
        stream.wait_for_offset(LINES, process)
        compact(stream)
        shown = command_lines(family(process.pid))
        status = stream.status()
        process.terminate()
        assert process.wait(120) == exit_codes.STOPPED
    assert any("java" in line for line in shown)
    assert not any(secret in line for line in shown for secret in SECRETS)
    assert with_secrets(stream) == []
    assert "sasl.jaas.config" in stream.log(), "at this level Spark shows how its consumers are configured"
    assert status is not None
    assert status.end_offsets[stream.topic]["0"] >= LINES, "the look at the offsets logs in, too"
    book = book_of([(line, arrived) for line in lines], late_by=3600)
    rows, _ = published_rows(stream)
    assert {row_key(row): tuple(row[name] for name in SUMS) for row in rows} == book.rows
    (topic,) = (sink.address for sink in stream.catalog.streams[stream.name].sinks if sink.kind == "kafka")
    assert metrics(guarded, topic) == {"BUYS": book.buys, "SELLS": book.sells}


def refused(access: KafkaAccess) -> str:
    with pytest.raises(KafkaUnavailable) as error:
        ensure_topics(access, [], timeout=3)
    return str(error.value)


@pytest.mark.parametrize(
    ("wrong", "words", "do"),
    [
        ({"password": "another"}, "uthentication", "MILLRACE_KAFKA_PASSWORD"),
        ({"username": "nobody"}, "uthentication", "MILLRACE_KAFKA_USERNAME"),
        ({"mechanism": "SCRAM-SHA-256"}, "SCRAM-SHA-256", "MILLRACE_KAFKA_SASL_MECHANISM"),
        ({"ca": None}, "certificate", "MILLRACE_KAFKA_CA"),
    ],
)
def test_what_the_broker_refuses_is_told_in_its_own_words(
    guarded: SecureKafka, wrong: dict[str, str | None], words: str, do: str
) -> None:
    access = replace(guarded.access, security=replace(guarded.access.security, **wrong))
    (finding,) = look_at_kafka(access, {}, probe=False)
    assert finding.level == "error"
    assert words in finding.says
    assert do in finding.do


def test_an_authority_that_did_not_sign_is_not_believed(guarded: SecureKafka, tmp_path: Path) -> None:
    stranger = make_certificates(tmp_path).ca
    security = replace(guarded.access.security, ca=stranger)
    access = replace(guarded.access, security=security)
    assert "certificate" in refused(access)
    offsets = TopicOffsets(access, "any")
    with pytest.raises(ConnectionError, match="certificate"):
        offsets.partitions(timeout=3)
    offsets.close()


def test_without_tls_the_doctor_says_what_to_set(guarded: SecureKafka) -> None:
    access = KafkaAccess(guarded.access.bootstrap, KafkaSecurity())
    (finding,) = look_at_kafka(access, {}, probe=False, timeout=2)
    assert "MILLRACE_KAFKA_SECURITY" in finding.do, finding


def test_the_doctor_finds_nothing_to_say_of_a_guarded_kafka(guarded: SecureKafka) -> None:
    findings = list(look_at_kafka(guarded.access, {}, probe=True))
    assert [one.level for one in findings] == ["fine"] * 3
    assert JAAS not in os.environ
