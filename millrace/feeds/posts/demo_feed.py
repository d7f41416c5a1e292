"""Made-up posts as a running feed: so many a second, dated now, their numbers continuing those in Kafka."""

from __future__ import annotations

import logging
from itertools import islice

from confluent_kafka import Message

from millrace.catalog import format_duration
from millrace.feeds.context import FeedContext
from millrace.feeds.kafka_tail import last_of_each_partition
from millrace.feeds.model import Unreadable
from millrace.feeds.pace import Pace
from millrace.feeds.past import past_moments
from millrace.feeds.posts.demo import dated, demo_posts, number_of, post_id
from millrace.feeds.posts.envelope import send_end_of_posts, send_post
from millrace.feeds.posts.options import PostsDemoOptions
from millrace.feeds.reading import load_json

log = logging.getLogger(__name__)

_TELL_EVERY = 60.0


def run(context: FeedContext, options: PostsDemoOptions) -> None:
    """Run until stopped, or until post number `total` is sent, which ends with the end of input.

    Delivery is in order, so the last number in Kafka tells all that was sent: after a crash nothing is missing and
    nothing doubled. While no feed runs there are no posts; the gap is not filled. Only an empty topic gets a past.
    """
    last, posted_at = last_demo_post(context, options.seed)
    log.info("%s: the last post in Kafka has number %d; goes on with %d", context.name, last, last + 1)
    made = demo_posts(options.seed, last + 1)
    sent = 0
    if last == 0:
        moments = past_moments(context.clock(), options.history, options.rate)
        for moment, post in zip(moments, islice(made, options.total), strict=False):
            posted_at = int(moment * 1000)
            send_post(context.sink, dated(post, options.seed, posted_at))
            last, sent = post.number, sent + 1
        made = demo_posts(options.seed, last + 1)
        log.info("%s: %d posts of the past %s sent", context.name, sent, format_duration(options.history))
    pace, told = Pace(options.rate), context.clock()
    while True:
        wanted = max(1, int(options.rate)) if context.once else pace.due()
        if options.total is not None:
            wanted = min(wanted, options.total - last)
        for post in islice(made, max(0, wanted)):
            posted_at = int(context.clock() * 1000)
            send_post(context.sink, dated(post, options.seed, posted_at))
            last, sent = post.number, sent + 1
        if options.total is not None and last >= options.total:
            send_end_of_posts(context.sink, "demo", posted_at)
            log.info("%s: post %d was the last, `total` is %d", context.name, last, options.total)
            return
        if context.once or not pace.wait(context.stop):
            return
        if context.clock() - told >= _TELL_EVERY:
            log.info("%s: %d posts sent, up to number %d", context.name, sent, last)
            told = context.clock()


def last_demo_post(context: FeedContext, seed: int) -> tuple[int, int]:
    """Number and `posted_at` (epoch milliseconds UTC) of this seed's newest post in the topic; zeros when there is
    none."""
    mark = post_id(seed, 0).removesuffix("0").encode()

    def read(message: Message) -> tuple[int, int] | None:
        try:
            post = load_json(message.value())
        except Unreadable:
            return None
        if not isinstance(post, dict) or post.get("source") != "demo":
            return None
        number = number_of(str(post.get("post_id")), seed)
        return None if number is None else (number, int(post["posted_at"]))

    found = last_of_each_partition(
        context.bootstrap,
        context.topic,
        "made-up posts",
        wanted=lambda message: mark in (message.value() or b""),
        read=read,
    )
    return max(found, default=(0, 0))
