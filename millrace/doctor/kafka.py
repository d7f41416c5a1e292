"""Kafka: that it answers, that its topics are as the catalog says, and whose clock dates their records."""

from __future__ import annotations

import secrets
import socket
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ClusterMetadata, ConfigResource, NewTopic

from millrace.catalog import TopicSpec
from millrace.doctor import clock
from millrace.doctor.finding import Finding, error, fine, warning
from millrace.kafka_access import Kafka, KafkaAccess, LastError, librdkafka
from millrace.kafka_topics import topic_config

PART = "Kafka"
PROBE = "millrace-doctor-"
_QUIET = {"log_level": 0, "socket.timeout.ms": 5_000}


def look_at_kafka(
    kafka: Kafka, topics: Mapping[str, TopicSpec], *, probe: bool, timeout: float = 5.0
) -> Iterator[Finding]:
    """Changes no topic of the catalog. `probe`: make a topic of its own for a moment, send a record to it and read
    it again, which shows the broker's clock and that records come through. `timeout` in seconds, for each answer.
    """
    said = LastError()
    admin = AdminClient({**librdkafka(kafka), **_QUIET, "error_cb": said})
    try:
        metadata = _first_answer(admin, said, timeout)
    except KafkaException as problem:
        reason = said.of(admin, problem)
        do = what_to_do(reason, port_answers=_port_answers(kafka))
        yield error(PART, f"no broker answers at {kafka}: {reason}", do)
        return
    brokers = len(metadata.brokers)
    yield fine(PART, f"it answers at {kafka}, brokers: {brokers}")
    if (open_login := _open_login(kafka)) is not None:
        yield open_login
    partitions = {name: len(topic.partitions) for name, topic in metadata.topics.items()}
    copies = {
        name: min((len(one.replicas) for one in topic.partitions.values()), default=0)
        for name, topic in metadata.topics.items()
    }
    configs = _configs(admin, [name for name in topics if name in partitions], timeout)
    findings = list(judge_topics(topics, partitions, configs))
    if brokers > 1 and (single := sorted(name for name in topics if copies.get(name) == 1)):
        findings.append(
            warning(
                PART,
                f"of {', '.join(single)} there is one copy, on one of {brokers} brokers",
                "raise the replication factor (`kafka-reassign-partitions`), or a broker's disk takes records with it",
            )
        )
    yield from findings
    if not any(finding.level != "fine" for finding in findings):
        yield fine(PART, f"{len(topics)} topics as the catalog has them")
    if probe:
        yield _probed(kafka, admin, timeout)


def _first_answer(admin: AdminClient, said: LastError, timeout: float) -> ClusterMetadata:
    """What the brokers say of themselves. A refusal is not waited for again; librdkafka would."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            return admin.list_topics(timeout=min(0.5, timeout))
        except KafkaException as problem:
            if _hint(said.of(admin, problem)) is not None or time.monotonic() >= deadline:
                raise


def judge_topics(
    topics: Mapping[str, TopicSpec],
    partitions: Mapping[str, int],
    configs: Mapping[str, Mapping[str, str] | str],
) -> Iterator[Finding]:
    """What differs between the catalog and what there is: `configs` has a topic's entries, or why they are unknown."""
    for name, spec in topics.items():
        if name not in partitions:
            yield warning(
                PART,
                f"topic {name} is not there",
                "its feed makes it when it starts, if it may; else create it with "
                f"{spec.partitions} partition(s) and message.timestamp.type=LogAppendTime",
            )
            continue
        if partitions[name] != spec.partitions:
            yield error(
                PART,
                f"topic {name} has {partitions[name]} partitions, the catalog says {spec.partitions}",
                f"put `partitions: {partitions[name]}` into catalog/topics.yaml; the number is fixed once streams read "
                "the topic",
            )
        found = configs[name]
        if isinstance(found, str):
            yield warning(
                PART, f"the settings of topic {name} cannot be seen: {found}", "allow DescribeConfigs"
            )
            continue
        yield from _judge_config(name, topic_config(spec), found)


def _judge_config(name: str, wanted: Mapping[str, str], found: Mapping[str, str]) -> Iterator[Finding]:
    different = {key: value for key, value in wanted.items() if found.get(key) != value}
    if "message.timestamp.type" in different:
        yield error(
            PART,
            f"topic {name} has message.timestamp.type={found.get('message.timestamp.type')}: its records are dated by "
            "their producers",
            "it must be LogAppendTime; records that are there keep their dates, so make the topic anew",
        )
        del different["message.timestamp.type"]
    if different:
        shown = ", ".join(f"{key}={found.get(key)} (catalog: {value})" for key, value in different.items())
        yield warning(
            PART,
            f"topic {name} differs: {shown}",
            "its feed brings it into line when it starts, if it may; or change catalog/topics.yaml",
        )


def _open_login(kafka: Kafka) -> Finding | None:
    if isinstance(kafka, KafkaAccess):
        security = kafka.security
        if security.mechanism == "PLAIN" and not security.is_encrypted:
            return warning(
                PART,
                "the password goes over the network as it is (PLAIN without TLS)",
                "set MILLRACE_KAFKA_SECURITY=SASL_SSL, or a SCRAM mechanism",
            )
    return None


def _configs(admin: AdminClient, names: list[str], timeout: float) -> dict[str, Mapping[str, str] | str]:
    if not names:
        return {}
    resources = [ConfigResource(ConfigResource.Type.TOPIC, name) for name in names]
    found: dict[str, Mapping[str, str] | str] = {}
    for resource, future in admin.describe_configs(resources, request_timeout=timeout).items():
        try:
            found[resource.name] = {key: entry.value for key, entry in future.result().items()}
        except KafkaException as problem:
            found[resource.name] = str(problem.args[0].str())
    return found


def _probed(kafka: Kafka, admin: AdminClient, timeout: float) -> Finding:
    topic = f"{PROBE}{secrets.token_hex(4)}"
    new = NewTopic(topic, 1, -1, config={"message.timestamp.type": "LogAppendTime", "retention.ms": "60000"})
    try:
        admin.create_topics([new], request_timeout=timeout)[topic].result()
    except KafkaException as problem:
        return warning(
            PART,
            f"whether records come through, and the broker's clock, were not looked at: {problem.args[0].str()}",
            "allow this user to create and delete topics that begin with millrace-doctor-, or do without it",
        )
    try:
        before, told, after = _round_trip(kafka, topic, timeout)
        return clock.judge(PART, "the broker's", clock.skew(before, told, after, timedelta(milliseconds=1)))
    except (KafkaException, TimeoutError) as problem:
        return error(
            PART,
            f"a record that was sent to topic {topic} did not come back: {problem}",
            "see the brokers' logs; are their advertised.listeners addresses that can be reached from here?",
        )
    finally:
        admin.delete_topics([topic], request_timeout=timeout)[topic].exception()


def _round_trip(kafka: Kafka, topic: str, timeout: float) -> tuple[datetime, datetime, datetime]:
    """When a record was sent, its date by the broker's clock, and when it was acknowledged."""
    told: list[Any] = []

    def delivered(problem: Any, message: Message) -> None:
        told.append(problem if problem is not None else message)

    producer = Producer(
        {**librdkafka(kafka), **_QUIET, "acks": "all", "message.timeout.ms": int(timeout * 1000)}
    )
    producer.list_topics(topic, timeout=timeout)  # connected, so that only the record itself takes time
    before = datetime.now(UTC)
    producer.produce(topic, b"millrace doctor", on_delivery=delivered)
    producer.flush(timeout)
    after = datetime.now(UTC)
    if not told:
        raise TimeoutError(f"not acknowledged within {timeout:g} s")
    if not isinstance(told[0], Message):
        raise KafkaException(told[0])
    consumer = Consumer(
        {**librdkafka(kafka), **_QUIET, "group.id": "millrace-doctor", "enable.auto.commit": False}
    )
    try:
        consumer.assign([TopicPartition(topic, 0, 0)])
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            message = consumer.poll(0.2)
            if message is not None and message.error() is None:
                return before, datetime.fromtimestamp(message.timestamp()[1] / 1000, UTC), after
    finally:
        consumer.close()
    raise TimeoutError(f"not read within {timeout:g} s")


def what_to_do(reason: str, *, port_answers: bool = False) -> str:
    """What to do when no broker answers, by the words of librdkafka; `port_answers`: something is there."""
    if (hint := _hint(reason)) is not None:
        return hint
    if port_answers:
        return (
            "the port answers, but not as a broker with these settings: MILLRACE_KAFKA_SECURITY must be what the "
            "listener is (does it want TLS, or a login?)"
        )
    return "is it up, and MILLRACE_KAFKA right? For the embedded stack: `millrace status`, `millrace up`"


def _hint(reason: str) -> str | None:
    """What to do about a refusal; None when it is none."""
    hints = {
        "unsupported sasl": "MILLRACE_KAFKA_SASL_MECHANISM must be one that this listener takes",
        "authentication": "MILLRACE_KAFKA_USERNAME and MILLRACE_KAFKA_PASSWORD must be a user of that Kafka, and "
        "MILLRACE_KAFKA_SASL_MECHANISM one that it has for this user",
        "certificate": "name the authority that signed the brokers' certificates (a PEM file) with MILLRACE_KAFKA_CA; "
        "the names in MILLRACE_KAFKA must be those that the certificates have",
        "ssl handshake": "does this port speak TLS? MILLRACE_KAFKA_SECURITY must be what the listener is",
    }
    return next((do for words, do in hints.items() if words in reason.lower()), None)


def _port_answers(kafka: Kafka) -> bool:
    """Whether anything listens at the first address."""
    host, _, port = str(kafka).split(",")[0].strip().rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=2).close()
    except (OSError, ValueError):
        return False
    return True
