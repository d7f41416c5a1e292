"""The lines of a file of orders as a running feed, as they are: what is wrong with a line, its readers say.

Every message carries in a header which file and which line it is, so a replay that was killed goes on with the next
line, and one that has come to its end does not begin anew by being started again.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from confluent_kafka import Message

from millrace.feeds.compressed import Lines, RecordedError
from millrace.feeds.context import FeedContext, shown
from millrace.feeds.interrupted import Interrupted
from millrace.feeds.kafka_tail import last_of_each_partition
from millrace.feeds.orders.line import TIME_LENGTH, line_time, time_of_line
from millrace.feeds.orders.options import OrdersReplayOptions
from millrace.feeds.pace import Pace

log = logging.getLogger(__name__)

HEADER = "replay"
"""`<fingerprint of the file>:<line, from 1>`."""


def run(context: FeedContext, options: OrdersReplayOptions) -> None:
    """Send every line that this file still has to send. Raises RecordedError, Interrupted."""
    path = Path(options.file).expanduser()
    mark = fingerprint(path)
    sent = 0 if options.again else last_line_sent(context, mark)
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
        context.sink.send(moved(line, shift), headers=[(HEADER, f"{mark}:{number}".encode())])
        sent = number
    if sent == before:
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


def fingerprint(path: Path) -> str:
    """Tells files apart by their size and their first 64 kB, wherever they lie. Raises RecordedError."""
    try:
        with path.open("rb") as file:
            digest = hashlib.sha256(file.read(65_536))
        size = path.stat().st_size
    except OSError as error:
        raise RecordedError(f"{path} cannot be read: {error.strerror}") from None
    digest.update(str(size).encode())
    return digest.hexdigest()[:16]


def last_line_sent(context: FeedContext, mark: str) -> int:
    """The newest line of this file in the topic; 0 when there is none."""
    prefix = f"{mark}:".encode()

    def wanted(message: Message) -> bool:
        return any(name == HEADER and value.startswith(prefix) for name, value in message.headers() or ())

    def read(message: Message) -> int | None:
        numbers = [value[len(prefix) :] for name, value in message.headers() if name == HEADER]
        return int(numbers[0]) if numbers and numbers[0].isdigit() else None

    found = last_of_each_partition(
        context.bootstrap, context.topic, "the replayed file", wanted=wanted, read=read
    )
    return max(found, default=0)
