"""The newest posts: where to begin again, and which of those that come again are known already."""

from __future__ import annotations

from collections import OrderedDict

from confluent_kafka import Message

from millrace.feeds.context import FeedContext
from millrace.feeds.kafka_tail import last_of_each_partition
from millrace.feeds.model import Unreadable
from millrace.feeds.reading import load_json

_REMEMBERED = 100_000
"""Posts. The rewind of 5 s repeats some hundreds; at a few hundred bytes each this is some 20 MB at most."""


class Recent:
    """The ids of the newest posts, and the newest time of any event, epoch microseconds UTC (0: none)."""

    def __init__(self) -> None:
        self._ids: OrderedDict[str, None] = OrderedDict()
        self.time_us = 0

    def saw(self, time_us: int) -> None:
        self.time_us = max(self.time_us, time_us)

    def is_new(self, post_id: str) -> bool:
        """Whether this post has not come yet; from now on it has."""
        if post_id in self._ids:
            return False
        self._ids[post_id] = None
        if len(self._ids) > _REMEMBERED:
            self._ids.popitem(last=False)
        return True

    def cursor(self, now: float, *, rewind: float, catch_up: float) -> int | None:
        """Where to begin, epoch microseconds UTC; None for what is new. All other times in seconds."""
        if not self.time_us or now - self.time_us / 1e6 > catch_up:
            return None
        return self.time_us - int(rewind * 1e6)


def recent_posts(context: FeedContext, back: float) -> Recent:
    """What the topic knows of the last `back` seconds before its newest Bluesky post. Raises KafkaUnavailable."""
    recent = Recent()
    ids: list[str] = []

    def read(message: Message) -> bool | None:
        try:
            post = load_json(message.value())
        except Unreadable:
            return None
        if not isinstance(post, dict) or post.get("source") != "jetstream" or post.get("kind") != "post":
            return None
        recent.saw(min(post["posted_at"], message.timestamp()[1]) * 1000)
        ids.append(post["post_id"])
        return True if post["posted_at"] < recent.time_us / 1000 - back * 1000 else None

    last_of_each_partition(
        context.bootstrap,
        context.topic,
        "Bluesky posts",
        wanted=lambda message: b'"source":"jetstream"' in (message.value() or b""),
        read=read,
    )
    for post_id in reversed(ids):
        recent.is_new(post_id)
    return recent
