"""Recorded polls as a running feed: as fast as Kafka takes them, or at a multiple of real time."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from millrace.feeds.compressed import RecordedError
from millrace.feeds.context import FeedContext, shown
from millrace.feeds.interrupted import Interrupted
from millrace.feeds.model import Rejection
from millrace.feeds.options import ReplayOptions
from millrace.feeds.recorded import identify, last_observed_at, read_recorded
from millrace.feeds.send_poll import send_end_of_input, send_poll

log = logging.getLogger(__name__)

_TELL_EVERY = 10.0


def run(context: FeedContext, options: ReplayOptions) -> None:
    """Send every poll of the files, then the end of input. Raises RecordedError, Interrupted."""
    files = options.recordings
    shift = context.now() - last_observed_at(files) if options.times == "now" else 0
    if shift:
        log.info("%s: all times are moved by %d s", options.system_id, shift)
    rejected = 0

    def reject(rejection: Rejection) -> None:
        nonlocal rejected
        rejected += 1
        context.sink.dead_letter(rejection, system_id=options.system_id, fetched_at=context.now())
        log.warning("%s: %s: %s; goes on", options.system_id, rejection.reason, rejection.detail)

    began = context.clock()
    first: int | None = None
    newest = sent = observations = 0
    with _progress(files, context.clock) as advance:
        for poll in read_recorded(
            files, system_id=options.system_id, on_rejected=reject, on_read=lambda _, size: advance(_, size)
        ):
            first = poll.observed_at if first is None else first
            if options.speed is not None:
                due = began + (poll.observed_at - first) / options.speed
                context.stop.wait(due - context.clock())
            if context.stop.is_set:
                again = "it again is harmless"
                if options.times == "now":  # what is sent again has other times, so it is counted again
                    again = "it again from its beginning needs a system_id of its own, as its times would be others"
                raise Interrupted(
                    f"{options.system_id}: stopped after {sent} polls, up to {shown(newest)}; they are in Kafka, the "
                    f"end of input is not. Sending {again}"
                )
            if shift:
                poll = replace(poll, observed_at=poll.observed_at + shift, fetched_at=poll.fetched_at + shift)
            send_poll(context.sink, poll)
            newest = max(newest, poll.observed_at)
            sent += 1
            observations += len(poll.stations)
    if newest:
        send_end_of_input(context.sink, options.system_id, newest)
    elif rejected:
        raise RecordedError(
            f"{options.system_id}: not one poll could be read, {rejected} line(s) went to the dead letters; "
            "docs/schemas.md says what a recording is"
        )
    seconds = max(context.clock() - began, 0.001)
    log.info(
        "%s: sent %d polls (%d observations) up to %s in %.1f s, %.0f polls/s; %d unreadable; end of input",
        options.system_id, sent, observations, shown(newest) if newest else "never", seconds, sent / seconds,
        rejected,
    )  # fmt: skip


@contextmanager
def _progress(files: list[Path], clock: Callable[[], float]) -> Iterator[Callable[[Path, int], None]]:
    """Gives a function to call with (file, bytes read of it): a bar on a terminal, else a line now and then."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    big = identify(files).big_files
    total = sum(path.stat().st_size for path in big)
    read: dict[Path, int] = {}
    if not sys.stderr.isatty():
        told = clock()

        def tell(path: Path, size: int) -> None:
            nonlocal told
            read[path] = size
            if clock() - told >= _TELL_EVERY:
                told = clock()
                log.info("%.0f %% of the recording read", 100 * sum(read.values()) / max(total, 1))

        yield tell
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("replay", total=total)

        def advance(path: Path, size: int) -> None:
            read[path] = size
            progress.update(task, completed=sum(read.values()))

        yield advance
