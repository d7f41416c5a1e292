"""The heartbeat of a process that control keeps: a thread that reports, and hears what is wanted.

It runs beside the work and adds no request to it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from millrace.control.desired import read_desired
from millrace.control.epochs import newest_epoch
from millrace.control.lease import Lease
from millrace.control.status import DriverStatus, write_status
from millrace.store import ObjectStore

log = logging.getLogger(__name__)

LAST_WORDS_WITHIN = 20.0
"""A slow report may be under way, and the last one follows it."""


class Heartbeat:
    """Writes `control/<name>/status/<epoch>.json` every `every` seconds.

    `status` makes what is written. `on_stop` is called when the desired state is *stopped*, `on_fenced` with the
    greater epoch when another process has taken over; all three from this thread. Each time that there is none renews
    `lease`.
    """

    def __init__(
        self,
        store: ObjectStore,
        name: str,
        epoch: int,
        every: float,
        *,
        status: Callable[[], DriverStatus],
        on_stop: Callable[[str], None],
        on_fenced: Callable[[int], None],
        lease: Lease | None = None,
    ) -> None:
        self._store, self._name, self._epoch, self._every = store, name, epoch, every
        self._status, self._on_stop, self._on_fenced = status, on_stop, on_fenced
        self._lease = lease
        self._closed = threading.Event()
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Report at once, then again and again."""
        self._thread.start()

    def wake(self) -> None:
        """Something changed that is worth a report now."""
        self._wake.set()

    def end(self) -> None:
        """Report for the last time, and no more; waits for it, but not longer than LAST_WORDS_WITHIN."""
        self._closed.set()
        self._wake.set()
        self._thread.join(LAST_WORDS_WITHIN)
        if self._thread.is_alive():
            log.error(
                "the last status of %s is not written after %.0f s: the store does not answer",
                self._name,
                LAST_WORDS_WITHIN,
            )

    def _run(self) -> None:
        while not self._closed.is_set():
            self._wake.clear()
            try:
                self.beat()
            except Exception as error:
                # The work goes on: supervision sees an old heartbeat, and a person sees this line.
                log.warning("heartbeat of %s failed: %s", self._name, error)
            self._wake.wait(self._every)
        # By this thread too: beside a slow report it could be overtaken, and the status stay "running".
        try:
            write_status(self._store, self._status())
        except Exception as error:
            log.error("the last status of %s could not be written: %s", self._name, error)

    def beat(self) -> None:
        """Report once, and hear what is wanted. Raises StoreUnavailable, ControlObjectError."""
        began = self._lease.now() if self._lease else 0.0
        write_status(self._store, self._status())
        newest = newest_epoch(self._store, self._name, known=self._epoch)
        if newest > self._epoch:
            self._on_fenced(newest)
        elif self._lease is not None:
            self._lease.renew(began)
        desired = read_desired(self._store, self._name)
        if desired is not None and desired.state == "stopped":
            self._on_stop(f"asked to stop by {desired.who}: {desired.why}")
