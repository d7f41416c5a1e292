"""Polls as messages: one per page, all with the system as their key, so that they stay in order."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from millrace.feeds.envelope import end_of_input, poll_pages
from millrace.feeds.model import Poll
from millrace.feeds.sink import KafkaSink


def send_poll(sink: KafkaSink, poll: Poll, on_stored: Callable[[int], None] | None = None) -> int:
    """Hand over a poll; the number of its pages. `on_stored(pages)` is called, from another thread, when Kafka
    has acknowledged the last of them. Raises DeliveryError when an earlier message failed."""
    pages = poll_pages(poll)
    key = poll.system_id.encode("utf-8")
    for page in pages[:-1]:
        sink.send(page, key)
    sink.send(pages[-1], key, on_stored=partial(on_stored, len(pages)) if on_stored else None)
    return len(pages)


def send_end_of_input(sink: KafkaSink, system_id: str, observed_at: int) -> None:
    """Say that nothing more comes from a system; `observed_at` of its newest poll, epoch seconds UTC."""
    sink.send(end_of_input(system_id, observed_at), system_id.encode("utf-8"))
