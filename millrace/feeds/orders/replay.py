"""The lines of a file of orders as a running feed, as they are: what is wrong with a line, its readers say.

A replay that was killed goes on with the next line, and one that has come to its end does not begin anew by being
started again (`replayed.py`).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from millrace.feeds.compressed import Lines, RecordedError
from millrace.feeds.context import FeedContext, shown
from millrace.feeds.interrupted import Interrupted
from millrace.feeds.orders.line import TIME_LENGTH, line_time, time_of_line
from millrace.feeds.orders.options import OrdersReplayOptions
from millrace.feeds.pace import Pace
from millrace.feeds.replayed import fingerprint, last_sent, replay_header

log = logging.getLogger(__name__)


def run(context: FeedContext, options: OrdersReplayOptions) -> None:
    """Send every line that this file still has to send. Raises RecordedError, Interrupted."""
    (path,) = options.recordings
    mark = fingerprint(path)
    sent = 0 if options.again else last_sent(context, mark)
    if sent:
        log.info("%s: Kafka holds the first %d lines of %s; goes on after them", context.name, sent, path)
    shift = context.now() - newest_time(path) if options.times == "now" else 0
    if shift:
        log.info("%s: all times are moved by %d s", context.name, shift)
    began, before = context.clock(), sent
    pace = None if options.fast else Pace(options.rate)
    ready = 1 if pace is None else pace.due()
    for number, line in enumerate(islice(read_lines(path), sent, None), start=sent + 1):
        while pace is not None and ready < 1 and pace.wait(context.stop):
            ready = pace.due()
        if context.stop.is_set:
            raise Interrupted(
                f"{context.name}: stopped after line {sent} of {path}; started again, it goes on with the next"
            )
        if pace is not None:
            ready -= 1
        context.sink.send(moved(line, shift), headers=replay_header(mark, number))
        sent = number
    if sent == before and sent:
        log.warning(
            "%s: all %d lines of %s are in Kafka already; --again (`again: true`) sends them once more",
            context.name, sent, path,
        )  # fmt: skip
        return
    seconds = max(context.clock() - began, 0.001)
    rate = (sent - before) / seconds
    log.info("%s: sent %d lines of %s, %.0f lines/s", context.name, sent - before, path, rate)


def read_lines(path: Path) -> Iterator[bytes]:
    """The lines without their ends (\\n or \\r\\n), whatever is in them; an empty one is a line too."""
    with Lines(path) as (lines, _):
        for line in lines:
            yield line.removesuffix(b"\n").removesuffix(b"\r")


def moved(line: bytes, shift: int) -> bytes:
    """The line with its time moved by so many seconds; one without a time stays as it is."""
    moment = time_of_line(line) if shift else None
    return line if moment is None else line_time(moment + shift) + line[TIME_LENGTH:]


def newest_time(path: Path) -> int:
    """The newest time in the file, epoch seconds UTC. Raises RecordedError when no line has one."""
    newest = max(
        (moment for line in read_lines(path) if (moment := time_of_line(line)) is not None), default=None
    )
    if newest is None:
        raise RecordedError(
            f"{path}: no line begins with a time such as 2016-03-22 20:25:28, so none can be moved"
        )
    log.info("the newest time in %s is %s", path, shown(newest))
    return newest
