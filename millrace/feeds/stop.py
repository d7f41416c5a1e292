"""Stopping on purpose: SIGTERM and SIGINT ask, the feed finishes what it holds, then ends."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType


class Stop:
    """A wish to stop that threads and coroutines can wait for. It is never taken back."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._waiters: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()

    def set(self) -> None:
        self._event.set()
        for loop, event in list(self._waiters):
            # From a signal handler nothing else wakes a loop that sleeps in select; it may also be closed.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(event.set)

    @property
    def is_set(self) -> bool:
        return self._event.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait so long or until stopping is wished; True when it is."""
        return self._event.wait(max(0.0, seconds))

    async def wait_async(self, seconds: float | None = None) -> bool:
        """The same in a coroutine; None waits without end."""
        waiter = (asyncio.get_running_loop(), asyncio.Event())
        self._waiters.add(waiter)
        try:
            if not self._event.is_set():
                with suppress(TimeoutError):
                    await asyncio.wait_for(waiter[1].wait(), seconds)
        finally:
            self._waiters.discard(waiter)
        return self._event.is_set()

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT set it, for the length of a block; a second one interrupts as usual.

        Does nothing in a thread other than the main one, where Python takes no signal handlers.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        names = (signal.SIGTERM, signal.SIGINT)
        before = {name: signal.getsignal(name) for name in names}

        def handle(_: int, __: FrameType | None) -> None:
            if self._event.is_set():
                raise KeyboardInterrupt
            self.set()

        for name in names:
            signal.signal(name, handle)
        try:
            yield
        finally:
            for name in names:
                signal.signal(name, before[name])
