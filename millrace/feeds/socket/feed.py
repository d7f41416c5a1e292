"""The bridge as a running feed: connects, sends every line, and connects again when the other side goes away."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable

from millrace.feeds.context import FeedContext
from millrace.feeds.http import Backoff, FetchFailed
from millrace.feeds.line_splitter import MAX_LINE, LineSplitter, TooLong
from millrace.feeds.model import Rejection
from millrace.feeds.posts.envelope import send_post
from millrace.feeds.posts.model import Post
from millrace.feeds.posts.tags import text_tags
from millrace.feeds.reconnect import Reconnect
from millrace.feeds.socket.options import SocketOptions, parse_address

log = logging.getLogger(__name__)

_LOOK_UP = 0.2
"""Seconds between two looks at whether to stop, while nothing comes."""
_DRAIN_WITHIN = 2.0
"""Seconds for which a feed that was asked to stop still reads what has arrived; the other side may never pause."""
_CONNECT_WITHIN = 5.0
_ONCE_ATTEMPTS = 4


def run(context: FeedContext, options: SocketOptions, backoff: Backoff | None = None) -> None:
    """Run until stopped; with `context.once`, until the other side closes the first connection.

    What was received is delivered before the feed ends. What the other side sent while nothing was connected is lost,
    unless it keeps it: a socket cannot replay. Raises FetchFailed, with `once`, when nobody answers.
    """
    backoff = backoff or Backoff(first=1.0, longest=30.0, attempts=_ONCE_ATTEMPTS if context.once else None)
    bridge = _Bridge(context, options)
    again = Reconnect(backoff, context.watch)
    while not context.stop.is_set:
        try:
            with socket.create_connection(parse_address(options.address), _CONNECT_WITHIN) as connection:
                log.info("%s: connected to %s", context.name, options.address)
                again.worked()
                bridge.serve(connection)
            problem = "the other side closed the connection"
            if context.once:
                return
        except OSError as error:
            problem = error.strerror or str(error)
        if context.stop.is_set:
            return
        wait = again.failed(f"{options.address}: {problem}")
        if again.given_up:
            raise FetchFailed(f"{options.address}: {problem}; is `nc -lk` or the like running there?")
        log.warning(
            "%s: %s: %s; connects again in %.1f s (%d lines so far)",
            context.name, options.address, problem, wait, bridge.lines,
        )  # fmt: skip
        context.stop.wait(wait)


class _Bridge:
    def __init__(self, context: FeedContext, options: SocketOptions) -> None:
        self._context = context
        self._options = options
        self._send: Callable[[str], None] = self._send_line if options.form == "line" else self._send_post
        self._born = int(context.clock() * 1000)
        self.lines = 0

    def serve(self, connection: socket.socket) -> None:
        """Send the lines of a connection until it ends or the feed is asked to stop; a last line without an end
        counts too. Raises OSError when the connection breaks."""
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connection.settimeout(_LOOK_UP)
        splitter = LineSplitter()
        drain_until: float | None = None
        try:
            while True:
                if self._context.stop.is_set and drain_until is None:
                    connection.settimeout(0.0)
                    drain_until = time.monotonic() + _DRAIN_WITHIN
                try:
                    piece = connection.recv(65_536)
                except (TimeoutError, BlockingIOError):
                    if drain_until is not None:
                        return
                    continue
                for line in splitter.feed(piece):
                    self._take(line)
                if not piece or (drain_until is not None and time.monotonic() > drain_until):
                    return
        finally:
            for line in splitter.end():
                self._take(line)

    def _take(self, line: bytes | TooLong) -> None:
        if isinstance(line, TooLong):
            detail = f"a line has more than {MAX_LINE} bytes; its beginning is kept"
            self._context.reject(
                self._options.address, Rejection("too_large", detail, line.beginning),
                system_id=None, then="goes on with the next line", fetched_at=self._context.now(),
            )  # fmt: skip
            return
        self._send(line.decode("utf-8", "replace"))
        self.lines += 1

    def _send_line(self, line: str) -> None:
        self._context.sink.send(line.encode("utf-8"))

    def _send_post(self, line: str) -> None:
        if not line.strip():
            return
        moment = int(self._context.clock() * 1000)
        post_id = f"{self._born}-{self.lines + 1}"
        post = Post("socket", post_id, self._options.user_id, moment, line, text_tags(line))
        send_post(self._context.sink, post)
