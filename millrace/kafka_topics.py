"""The Kafka topics of the catalog, made once and checked ever after.

Two properties of a topic cannot be changed without harm, so a topic that differs in them is refused:

* its **number of partitions**: the key → partition mapping, and with it the order of a system's polls,
  would change in the middle of a stream's life;
* its **timestamp type**: `LogAppendTime` is the broker's clock, which decides what is dated in the future
  and when a system was last heard from; with `CreateTime` a producer could claim anything.

Retention and the greatest message size may be edited in the catalog at any time; they are brought into
line here.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic

from millrace.catalog import TopicSpec
from millrace.kafka_access import Kafka, LastError, librdkafka

BROKER_DEFAULT_REPLICATION = -1


class TopicError(RuntimeError):
    """A topic is not as the catalog says; the message names it and says what to do."""


class KafkaUnavailable(RuntimeError):
    """No broker answered in time; the message names the address that was tried."""


def topic_config(spec: TopicSpec) -> dict[str, str]:
    """The configuration entries that a topic gets; the batches stay as the producers compressed them."""
    return {
        "message.timestamp.type": "LogAppendTime",
        "retention.ms": str(round(spec.retention.total_seconds() * 1000)),
        "max.message.bytes": str(spec.max_message_bytes),
        "compression.type": "producer",
    }


def ensure_topics(
    bootstrap: Kafka, topics: Mapping[str, TopicSpec] | Iterable[TopicSpec], *, timeout: float = 30.0
) -> list[str]:
    """Create what is missing, check what is there, and return the names of the created topics.

    Harmless when repeated, and when several processes do it at once. `timeout` in seconds is for the whole
    call, including the wait for a broker that is still starting.

    Raises TopicError for a topic that differs in partitions or timestamp type, KafkaUnavailable when no
    broker answers.
    """
    specs = list(topics.values()) if isinstance(topics, Mapping) else list(topics)
    deadline = time.monotonic() + timeout
    # log_level 0: librdkafka would print every refused connection to stderr; the error says it once.
    said = LastError()
    options = {**librdkafka(bootstrap), "socket.timeout.ms": 10_000, "log_level": 0, "error_cb": said}
    admin = AdminClient(options)
    existing = _partitions(admin, bootstrap, deadline, said)
    created = [spec.name for spec in specs if spec.name not in existing]
    if created:
        _create(admin, bootstrap, [spec for spec in specs if spec.name in created], deadline)
        existing = _wait_for(admin, bootstrap, created, deadline, said)
    for spec in specs:
        if existing[spec.name] != spec.partitions:
            raise TopicError(
                f"Kafka topic {spec.name!r} at {bootstrap} has {existing[spec.name]} partition(s), the "
                f"catalog says {spec.partitions}. The number is fixed for the life of a topic: put "
                f"`partitions: {existing[spec.name]}` back into topics.yaml, or, to start afresh without its "
                "records, stop the feeds and streams and delete the topic"
            )
    _check_configs(admin, bootstrap, specs, deadline)
    return created


def _partitions(admin: AdminClient, bootstrap: Kafka, deadline: float, said: LastError) -> dict[str, int]:
    """Topic to number of partitions, as soon as a broker answers."""
    while True:
        left = deadline - time.monotonic()
        try:
            metadata = admin.list_topics(timeout=max(0.1, min(left, 5.0)))
        except KafkaException as error:
            if time.monotonic() >= deadline:
                raise KafkaUnavailable(
                    f"no Kafka broker answers at {bootstrap} ({said.of(admin, error)}). Is the stack up "
                    "(`millrace status`)? MILLRACE_KAFKA names another address"
                ) from None
            time.sleep(0.1)
        else:
            return {name: len(topic.partitions) for name, topic in metadata.topics.items()}


def _create(admin: AdminClient, bootstrap: Kafka, specs: list[TopicSpec], deadline: float) -> None:
    wanted = [
        NewTopic(spec.name, spec.partitions, BROKER_DEFAULT_REPLICATION, config=topic_config(spec))
        for spec in specs
    ]
    pending = admin.create_topics(wanted, request_timeout=_left(deadline))
    for name, future in pending.items():
        try:
            future.result()
        except KafkaException as error:
            # Another process may create it at the same moment; whether it is right is checked afterwards.
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise TopicError(
                    f"Kafka topic {name!r} cannot be created at {bootstrap}: {error.args[0].str()}"
                ) from None


def _wait_for(
    admin: AdminClient, bootstrap: Kafka, names: list[str], deadline: float, said: LastError
) -> dict[str, int]:
    """A created topic reaches the brokers' metadata a moment later than the answer to its creation."""
    while True:
        existing = _partitions(admin, bootstrap, deadline, said)
        missing = [name for name in names if not existing.get(name)]
        if not missing:
            return existing
        if time.monotonic() >= deadline:
            raise KafkaUnavailable(
                f"Kafka at {bootstrap} took the order for topic(s) {', '.join(missing)} but does not show "
                "them; see the broker's log"
            )
        time.sleep(0.05)


def _check_configs(admin: AdminClient, bootstrap: Kafka, specs: list[TopicSpec], deadline: float) -> None:
    resources = {spec.name: ConfigResource(ConfigResource.Type.TOPIC, spec.name) for spec in specs}
    if not resources:
        return
    answers = admin.describe_configs(list(resources.values()), request_timeout=_left(deadline))
    found: dict[str, dict[str, str]] = {}
    for resource, future in answers.items():
        try:
            found[resource.name] = {key: entry.value for key, entry in future.result().items()}
        except KafkaException as error:
            raise KafkaUnavailable(
                f"Kafka at {bootstrap} does not tell the configuration of topic {resource.name!r}: "
                f"{error.args[0].str()}"
            ) from None
    changes: list[ConfigResource] = []
    for spec in specs:
        wanted, actual = topic_config(spec), found[spec.name]
        if actual["message.timestamp.type"] != "LogAppendTime":
            raise TopicError(
                f"Kafka topic {spec.name!r} at {bootstrap} has message.timestamp.type="
                f"{actual['message.timestamp.type']}, it must be LogAppendTime: its records are dated by "
                "their producers' clocks, and those already there stay so. Stop the feeds and streams and "
                "delete the topic (it is created anew), or name another topic in the catalog"
            )
        different = {key: value for key, value in wanted.items() if actual.get(key) != value}
        if different:
            entries = [
                ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET)
                for key, value in different.items()
            ]
            changes.append(ConfigResource(ConfigResource.Type.TOPIC, spec.name, incremental_configs=entries))
    if changes:
        for resource, future in admin.incremental_alter_configs(
            changes, request_timeout=_left(deadline)
        ).items():
            try:
                future.result()
            except KafkaException as error:
                raise TopicError(
                    f"Kafka topic {resource.name!r} at {bootstrap} cannot be brought into line with the "
                    f"catalog: {error.args[0].str()}"
                ) from None


def _left(deadline: float) -> float:
    """Seconds until the deadline, never so few that a request cannot even be sent."""
    return max(1.0, deadline - time.monotonic())
