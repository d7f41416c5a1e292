"""Bluesky's posts as a running feed, at least once: it begins again a little before the last event that it saw.

How far it has come, Kafka knows: the newest post there says where a feed that was killed begins again. Posts that come
again are dropped as far as they are remembered, so a repeat is rare.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter

from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus, WebSocketException
from websockets.typing import Subprotocol

from millrace import __version__
from millrace.feeds.context import FeedContext, shown
from millrace.feeds.http import Backoff, FetchFailed, place
from millrace.feeds.jetstream.address import MAX_EVENT, SUBPROTOCOL, is_version_2, subscribe_url
from millrace.feeds.jetstream.events import StreamError, parse_event
from millrace.feeds.jetstream.options import JetstreamOptions
from millrace.feeds.jetstream.recent import Recent, recent_posts
from millrace.feeds.model import Rejection, Unreadable
from millrace.feeds.posts.envelope import send_post
from millrace.feeds.reconnect import Reconnect
from millrace.feeds.tasks import run_until_stopped

log = logging.getLogger(__name__)

_TELL_EVERY = 60.0
_REMEMBER_BACK = 30.0
"""Seconds beyond the rewind: events do not come in quite the order of their times."""


def run(context: FeedContext, options: JetstreamOptions, backoff: Backoff | None = None) -> None:
    """Run until stopped; with `context.once`, until one post has come. Raises FetchFailed, with `once`, when none
    does."""
    backoff = backoff or Backoff(first=1.0, longest=60.0, attempts=4 if context.once else None)
    recent = recent_posts(context, options.rewind.total_seconds() + _REMEMBER_BACK)
    if recent.time_us:
        log.info("%s: the newest post in Kafka is of %s", context.name, shown(recent.time_us // 1_000_000))
    reader = _Reader(context, options, recent, Reconnect(backoff, context.watch))
    asyncio.run(run_until_stopped(context.stop, [reader.run()]))


class _Reader:
    """Reads one server after the other, each until it fails."""

    def __init__(
        self, context: FeedContext, options: JetstreamOptions, recent: Recent, again: Reconnect
    ) -> None:
        self._context = context
        self._options = options
        self._recent = recent
        self._again = again
        self._counts: Counter[str] = Counter()
        self._told = context.clock()
        self._label = ""

    async def run(self) -> None:
        number = 0
        while True:
            server = self._options.servers[number % len(self._options.servers)]
            self._label = place(server)
            problem = await self._read(server)
            if self._done:
                return
            number += 1
            wait = self._again.failed(f"{self._label}: {problem}")
            if self._again.given_up:
                raise FetchFailed(f"no post came from {self._label}: {problem}")
            log.warning("%s: %s; asks the next server in %.1f s", self._label, problem, wait)
            await asyncio.sleep(wait)

    @property
    def _done(self) -> bool:
        return self._context.once and self._counts["post"] > 0

    async def _read(self, server: str) -> str:
        """Read until the server fails; why it did."""
        cursor = self._recent.cursor(
            self._context.clock(),
            rewind=self._options.rewind.total_seconds(),
            catch_up=self._options.catch_up.total_seconds(),
        )
        quiet = self._options.quiet.total_seconds()
        try:
            async with connect(
                subscribe_url(server, cursor),
                subprotocols=[Subprotocol(SUBPROTOCOL)] if is_version_2(server) else None,
                user_agent_header=f"millrace/{__version__}",
                max_size=4 * MAX_EVENT,
                close_timeout=2,
            ) as connection:
                begins = f"from {shown(cursor // 1_000_000)}" if cursor is not None else "with what is new"
                log.info("%s: connected, begins %s", self._label, begins)
                while not self._done:
                    try:
                        # Not wait_for: in Python 3.11 it swallows a cancellation that comes together with a frame, and
                        # a feed that always has one to read would never stop.
                        async with asyncio.timeout(quiet):
                            frame = await connection.recv()
                    except TimeoutError:
                        return f"nothing came for {quiet:g} s"
                    self._take(frame)
        except InvalidStatus as error:
            body = error.response.body[:200].decode("utf-8", "replace")
            return f"HTTP {error.response.status_code} {body}".rstrip()
        except (OSError, WebSocketException, StreamError) as error:
            return f"{type(error).__name__}: {error}".rstrip(": ")
        return "enough"

    def _take(self, frame: str | bytes) -> None:
        # No await in here: what was counted as seen is also sent.
        try:
            event = parse_event(frame)
        except Unreadable as error:
            self._counts["unreadable"] += 1
            body = frame.encode("utf-8", "replace") if isinstance(frame, str) else frame
            rejection = Rejection(error.reason, error.detail, body)
            now = self._context.now()
            self._context.reject(self._label, rejection, system_id=None, then="goes on", fetched_at=now)
            return
        self._again.worked()
        what = event.what
        if event.post is not None:
            if self._recent.is_new(event.post.post_id):
                send_post(self._context.sink, event.post)
            else:
                what = "repeat"
        if event.time_us is not None:
            # A server whose clock runs ahead must not make the next one skip anything.
            self._recent.saw(min(event.time_us, int(self._context.clock() * 1e6)))
        self._counts[what] += 1
        if what.startswith("info"):
            log.warning("%s: says %s", self._label, frame[:300])
        self._tell()

    def _tell(self) -> None:
        if self._context.clock() - self._told < _TELL_EVERY:
            return
        self._told = self._context.clock()
        others = ", ".join(f"{number} {what}" for what, number in self._counts.items() if what != "post")
        log.info(
            "%s: %d posts up to %s; not posts: %s",
            self._label, self._counts["post"], shown(self._recent.time_us // 1_000_000), others or "none",
        )  # fmt: skip
