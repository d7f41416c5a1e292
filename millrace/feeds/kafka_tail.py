"""The last thing that a topic holds of one system: Kafka's own memory of how far a feed has come."""

from __future__ import annotations

import time

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from millrace.feeds.envelope import Page, decode
from millrace.feeds.model import Unreadable
from millrace.kafka_topics import KafkaUnavailable

_FIRST_LOOK = 200


def last_poll_page(bootstrap: str, topic: str, system_id: str, *, timeout: float = 30.0) -> Page | None:
    """The last envelope of kind `poll` with this key, or None when the topic holds none.

    Looks from the end backwards in windows that double, so a busy system is found at once, and one that is not
    there costs one pass over the topic. `timeout` is for each answer of the broker, in seconds. Raises
    KafkaUnavailable.
    """
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
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
        found = [_last_in(consumer, topic, number, system_id, timeout) for number in partitions]
    except KafkaException as error:
        raise KafkaUnavailable(
            f"Kafka at {bootstrap} does not tell the last record of {system_id!r} in topic {topic}: "
            f"{error.args[0].str()}"
        ) from None
    finally:
        consumer.close()
    pages = [page for page in found if page is not None]
    return max(pages, key=lambda page: (page.poll.observed_at, page.page), default=None)


def _last_in(consumer: Consumer, topic: str, partition: int, system_id: str, timeout: float) -> Page | None:
    low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=timeout)
    key = system_id.encode("utf-8")
    window, end = _FIRST_LOOK, high
    while end > low:
        begin = max(low, end - window)
        for value in reversed(_read(consumer, topic, partition, begin, end, key, timeout)):
            page = _page(value)
            if page is not None:
                return page
        end, window = begin, window * 2
    return None


def _read(
    consumer: Consumer, topic: str, partition: int, begin: int, end: int, key: bytes, timeout: float
) -> list[bytes]:
    """The values with this key from offset `begin` to before `end`."""
    consumer.assign([TopicPartition(topic, partition, begin)])
    values: list[bytes] = []
    deadline = time.monotonic() + timeout
    while True:
        messages = consumer.consume(500, timeout=0.2)
        for message in messages:
            if message.error():
                raise KafkaException(message.error())
            if message.offset() < end and message.key() == key and message.value():
                values.append(message.value())
        position = consumer.position([TopicPartition(topic, partition)])[0].offset
        if position >= end:
            return values
        if messages:
            deadline = time.monotonic() + timeout
        elif time.monotonic() > deadline:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))


def _page(value: bytes) -> Page | None:
    try:
        envelope = decode(value)
    except Unreadable:
        return None
    return envelope if isinstance(envelope, Page) else None
