"""Recorded tweets as a running feed: as fast as Kafka takes them, or at a multiple of real time.

A replay that was killed goes on with the next row, and one that has come to its end does not begin anew by being
started again (`replayed.py`).
"""

from __future__ import annotations

import logging
from itertools import islice

from millrace.feeds.compressed import RecordedError
from millrace.feeds.context import FeedContext, shown
from millrace.feeds.interrupted import Interrupted
from millrace.feeds.model import Rejection
from millrace.feeds.posts.envelope import send_end_of_posts, send_post
from millrace.feeds.posts.model import Post
from millrace.feeds.posts.options import TweetsOptions
from millrace.feeds.posts.tweets import read_tweets
from millrace.feeds.replayed import fingerprint, last_sent, replay_header

log = logging.getLogger(__name__)


def run(context: FeedContext, options: TweetsOptions) -> None:
    """Send every tweet that this file still has to send, then the end of input, which counts as one more row.

    Raises RecordedError, Interrupted.
    """
    (path,) = options.recordings
    mark = fingerprint(path)
    sent = 0 if options.again else last_sent(context, mark)
    times = [row.posted_at if isinstance(row, Post) else None for row in read_tweets(path)]
    newest = max((moment for moment in times if moment is not None), default=None)
    if newest is None:
        raise RecordedError(f"{path} holds no tweet that can be read")
    if sent > len(times):
        log.warning(
            "%s: all of %s is in Kafka already; --again (`again: true`) sends it once more",
            context.name,
            path,
        )
        return
    if sent:
        log.info("%s: Kafka holds the first %d rows of %s; goes on after them", context.name, sent, path)
    began = context.clock()
    first = next((moment for moment in times[sent:] if moment is not None), newest)
    shift = _shift(began, first, newest, options) if options.times == "now" else 0
    posts = rejected = 0
    for number, row in enumerate(islice(read_tweets(path), sent, None), start=sent + 1):
        if isinstance(row, Rejection):
            rejected += 1
            context.sink.dead_letter(row, system_id=None, fetched_at=context.now())
            log.warning("%s: row %d: %s: %s; goes on", context.name, number, row.reason, row.detail)
            continue
        if options.speed is not None:
            context.stop.wait(began + (row.posted_at - first) / 1000 / options.speed - context.clock())
        if context.stop.is_set:
            raise Interrupted(
                f"{context.name}: stopped before row {number}; started again, it goes on with it"
            )
        send_post(context.sink, row._replace(posted_at=row.posted_at + shift), replay_header(mark, number))
        posts += 1
    send_end_of_posts(context.sink, "tweets", newest + shift, replay_header(mark, len(times) + 1))
    log.info(
        "%s: sent %d tweets up to %s; %d rows unreadable; end of input",
        context.name, posts, shown((newest + shift) // 1000), rejected,
    )  # fmt: skip


def _shift(began: float, first: int, newest: int, options: TweetsOptions) -> int:
    """Milliseconds by which all times are moved, so that the newest is the moment at which it will be sent: none is
    ever in the future, and at the speed of real time each is the moment of its own sending."""
    lasts = (newest - first) / options.speed if options.speed is not None else 0
    return int(began * 1000 + lasts) - newest
