"""The last poll that a topic holds of one system."""

from __future__ import annotations

from confluent_kafka import Message

from millrace.feeds.envelope import Page, decode
from millrace.feeds.kafka_tail import last_of_each_partition
from millrace.feeds.model import Unreadable
from millrace.kafka_access import Kafka


def last_poll_page(bootstrap: Kafka, topic: str, system_id: str, *, timeout: float = 30.0) -> Page | None:
    """The last envelope of kind `poll` with this key, or None when the topic holds none.

    `timeout` is for each answer of the broker, in seconds. Raises KafkaUnavailable.
    """
    key = system_id.encode("utf-8")
    pages = last_of_each_partition(
        bootstrap,
        topic,
        repr(system_id),
        wanted=lambda message: bool(message.key() == key and message.value()),
        read=_page,
        timeout=timeout,
    )
    return max(pages, key=lambda page: (page.poll.observed_at, page.page), default=None)


def _page(message: Message) -> Page | None:
    try:
        envelope = decode(message.value())
    except Unreadable:
        return None
    return envelope if isinstance(envelope, Page) else None
