"""The last message of a feed in its topic: Kafka's own memory of how far the feed has come."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from millrace.kafka_access import Kafka, librdkafka
from millrace.kafka_topics import KafkaUnavailable

Found = TypeVar("Found")
Read = Callable[[Message], Found | None]
Wanted = Callable[[Message], bool]

_FIRST_LOOK = 200


def last_of_each_partition(
    bootstrap: Kafka, topic: str, what: str, *, wanted: Wanted, read: Read[Found], timeout: float = 30.0
) -> list[Found]:
    """What `read` makes of the last message, in each partition, that is `wanted` and for which it gives more
    than None; an empty list when there is none. `what` names it in the error.

    Looks from the end backwards in windows that double, so a busy feed is found at once, and one that is not
    there costs one pass over the topic. `timeout` is for each answer of the broker, in seconds. Raises
    KafkaUnavailable.
    """
    consumer = Consumer(
        {
            **librdkafka(bootstrap),
            "group.id": "millrace-tail",  # required by the library; nothing is committed under it
            "enable.auto.commit": False,
            "enable.partition.eof": False,
            "fetch.wait.max.ms": 10,
            # The default, a second, is waited whenever the queue is full: 31 s for 40,000 polls instead of 3.
            "fetch.queue.backoff.ms": 10,
            "log_level": 0,
        }
    )
    try:
        partitions = consumer.list_topics(topic, timeout=timeout).topics[topic].partitions
        found = [_last_in(consumer, topic, number, wanted, read, timeout) for number in partitions]
    except KafkaException as error:
        raise KafkaUnavailable(
            f"Kafka at {bootstrap} does not tell the last record of {what} in topic {topic}: "
            f"{error.args[0].str()}"
        ) from None
    finally:
        consumer.close()
    return [last for last in found if last is not None]


def _last_in(
    consumer: Consumer, topic: str, partition: int, wanted: Wanted, read: Read[Found], timeout: float
) -> Found | None:
    low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=timeout)
    window, end = _FIRST_LOOK, high
    while end > low:
        begin = max(low, end - window)
        for message in reversed(_fetch(consumer, topic, partition, begin, end, wanted, timeout)):
            last = read(message)
            if last is not None:
                return last
        end, window = begin, window * 2
    return None


def _fetch(
    consumer: Consumer, topic: str, partition: int, begin: int, end: int, wanted: Wanted, timeout: float
) -> list[Message]:
    """The wanted messages from offset `begin` to before `end`."""
    consumer.assign([TopicPartition(topic, partition, begin)])
    found: list[Message] = []
    deadline = time.monotonic() + timeout
    while True:
        messages = consumer.consume(500, timeout=0.2)
        for message in messages:
            if message.error():
                raise KafkaException(message.error())
            if message.offset() < end and wanted(message):
                found.append(message)
        position = consumer.position([TopicPartition(topic, partition)])[0].offset
        if position >= end:
            return found
        if messages:
            deadline = time.monotonic() + timeout
        elif time.monotonic() > deadline:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
