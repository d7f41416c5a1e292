"""One watcher of the store for all stream triggers of a triggerer process.

Airflow 3.3's shared streams would run for deferrals too, but a poll that raises there fails every task
that listens, and a late listener gets nothing until the next event. Here a round that fails is waited
out, and everybody sees the newest snapshot at once.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from millrace.control.view import StreamView
from millrace.control.watch import ControlWatch

log = logging.getLogger(__name__)

ROUND = 5.0
"""Seconds from one look to the next: a driver's heartbeat, so that more looks would see nothing more."""
ROUND_WITHIN = 60.0
"""A round that takes longer counts as failed; its thread ends by itself (all S3 calls have time limits)."""


@dataclass(frozen=True)
class Sight:
    """What a trigger gets to see of its stream in one round."""

    view: StreamView | None
    """None when the store has nothing about the stream."""
    problem: str | None = None
    """Why nothing can be said now: the store does not answer, or an object cannot be understood."""


class SharedWatch:
    """Looks as long as somebody watches, in a thread, one round at a time; lives on one event loop."""

    def __init__(self, make_watch: Callable[[], ControlWatch], round_seconds: float) -> None:
        self._make_watch = make_watch
        self._round_seconds = round_seconds
        self._watched: Counter[str] = Counter()
        self._sights: dict[str, Sight] = {}
        self._rounds = 0
        self._looked = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()

    async def next_sight(self, stream: str, seen_round: int) -> tuple[int, Sight]:
        """The newest sight of a stream after `seen_round` (0: any that includes it), and its round."""
        async with self._looked:
            await self._looked.wait_for(lambda: self._rounds > seen_round and stream in self._sights)
            return self._rounds, self._sights[stream]

    def enter(self, stream: str) -> None:
        self._watched[stream] += 1
        if stream not in self._sights:
            self._wake.set()
        if self._task is None or self._task.done():
            # In an empty context: in the first trigger's own, the log lines of all rounds would go to
            # the log of that trigger's task.
            self._task = asyncio.get_running_loop().create_task(
                self._look_on(), name="millrace shared watch", context=contextvars.Context()
            )

    def leave(self, stream: str) -> None:
        self._watched[stream] -= 1
        if self._watched[stream] <= 0:
            del self._watched[stream]
            self._sights.pop(stream, None)
        if not self._watched and self._task is not None:
            self._task.cancel()
            self._task = None

    async def _look_on(self) -> None:
        watch: ControlWatch | None = None
        while True:
            began = time.monotonic()
            self._wake.clear()
            streams = frozenset(self._watched)
            try:
                if watch is None:
                    watch = await asyncio.to_thread(self._make_watch)
                looking = asyncio.to_thread(watch.refresh, streams)
                snapshot = await asyncio.wait_for(looking, ROUND_WITHIN)
                sights = {
                    stream: Sight(snapshot.views.get(stream), snapshot.problems.get(stream))
                    for stream in streams
                }
            except Exception as error:
                # A thread that was given up may still be at work with the watch: never share it.
                watch = None
                log.warning("cannot look at the streams' control objects: %s", error)
                problem = f"the control objects cannot be read: {error or type(error).__name__}"
                sights = {stream: Sight(None, problem) for stream in streams}
            async with self._looked:
                self._sights.update({one: sight for one, sight in sights.items() if one in self._watched})
                self._rounds += 1
                self._looked.notify_all()
            rest = self._round_seconds - (time.monotonic() - began)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), max(rest, 0.1))


_shared: tuple[asyncio.AbstractEventLoop, SharedWatch] | None = None


def shared_watch() -> SharedWatch:
    """The watch of this process; of the running event loop, since a loop's parts serve no other one."""
    global _shared
    loop = asyncio.get_running_loop()
    if _shared is None or _shared[0] is not loop:
        _shared = (loop, SharedWatch(_watch_of_settings, ROUND))
    return _shared[1]


def _watch_of_settings() -> ControlWatch:
    from millrace import settings
    from millrace.store import open_store

    return ControlWatch(open_store(settings.load()))
