"""The driver's heartbeat: a thread that reports, asks Kafka what waits, and hears what is wanted.

It asks Kafka for the end offsets itself, because a query that is stuck emits no progress events, and it
adds no request to the path of a micro-batch.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from millrace.catalog import StreamSpec
from millrace.control.desired import read_desired
from millrace.control.epochs import newest_epoch
from millrace.control.status import DriverState, DriverStatus, write_status
from millrace.control.waiting import Waiting
from millrace.store import ObjectStore
from spark_apps.runtime.progress import Progress
from spark_apps.runtime.sources import StreamSource

log = logging.getLogger(__name__)


class Reporter:
    """Writes `control/<stream>/status/<driver_epoch>.json` every `heartbeat`.

    `on_stop` is called when the desired state is *stopped*, `on_fenced` with the greater epoch when
    another driver has taken over; both from the reporter's thread.
    """

    def __init__(
        self,
        store: ObjectStore,
        spec: StreamSpec,
        *,
        driver_epoch: int,
        spec_revision: int,
        progress: Progress,
        pid: int,
        on_stop: Callable[[str], None],
        on_fenced: Callable[[int], None],
    ) -> None:
        self._store = store
        self._spec = spec
        self._epoch = driver_epoch
        self._progress = progress
        self._on_stop = on_stop
        self._on_fenced = on_fenced
        self._source: StreamSource | None = None
        self._end_offsets: dict[str, int] = {}
        self._waiting = Waiting()
        self._state: DriverState = "starting"
        self._fixed: dict[str, Any] = {
            "stream": spec.name,
            "driver_epoch": driver_epoch,
            "spec_revision": spec_revision,
            "host": socket.gethostname(),
            "pid": pid,
            "started_at": datetime.now(UTC),
        }
        self._closed = threading.Event()
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reporter", daemon=True)

    def start(self) -> None:
        """Report at once, then every heartbeat."""
        self._thread.start()

    def watch(self, source: StreamSource, generation: int) -> None:
        """From now on report what waits in the source."""
        self._source = source
        self._fixed["generation"] = generation

    def runs(self, code: str | None) -> None:
        """From now on report which version of the code this is."""
        self._fixed["code"] = code

    def show_ui(self, address: str | None) -> None:
        """Where this driver's Spark UI is; None when it is off."""
        self._fixed["spark_ui"] = address

    def now(self, state: DriverState) -> None:
        """The driver's state has changed: say so without waiting for the next heartbeat."""
        self._state = state
        self._wake.set()

    def nudge(self) -> None:
        """Something happened that is worth an early report (the first facts)."""
        self._wake.set()

    def end(self, state: DriverState, exit_code: int, error: str | None) -> None:
        """The last words: stop the heartbeat and write the final status."""
        self._closed.set()
        self._wake.set()
        self._thread.join(timeout=10)
        self._state = state
        try:
            write_status(self._store, self._status(exit_code=exit_code, error=error))
        except Exception:
            log.exception("the last status of %s could not be written", self._spec.name)

    def _run(self) -> None:
        while not self._closed.is_set():
            self._wake.clear()
            try:
                self._beat()
            except Exception as error:
                # The stream goes on: Airflow sees an old heartbeat, and a person sees this line.
                log.warning("heartbeat of %s failed: %s", self._spec.name, error)
            self._wake.wait(self._spec.heartbeat.total_seconds())

    def _beat(self) -> None:
        if self._source is not None:
            self._look_at(self._source)
        write_status(self._store, self._status())
        newest = newest_epoch(self._store, self._spec.name, known=self._epoch)
        if newest > self._epoch:
            self._on_fenced(newest)
        desired = read_desired(self._store, self._spec.name)
        if desired is not None and desired.state == "stopped":
            self._on_stop(f"asked to stop by {desired.who}: {desired.why}")

    def _look_at(self, source: StreamSource) -> None:
        try:
            self._end_offsets = source.end_offsets() or {}
        except ConnectionError as error:
            # The driver is alive all the same, and must say so: what waits is not known meanwhile.
            log.warning("%s: %s", self._spec.name, error)
            self._end_offsets = {}
        lag = self._lag()
        self._waiting.look(lag, (self._state, self._progress.committed))
        if lag == 0:
            self._progress.idle()

    def _lag(self) -> int | None:
        if not self._end_offsets:
            return None
        done = self._progress.next_offsets
        return sum(max(0, end - done.get(partition, 0)) for partition, end in self._end_offsets.items())

    def _status(self, **last_words: Any) -> DriverStatus:
        return DriverStatus(
            **self._fixed,
            **self._progress.snapshot(),
            **last_words,
            state=self._state,
            heartbeat_at=datetime.now(UTC),
            offsets={self._spec.topic: dict(self._progress.next_offsets)},
            end_offsets={self._spec.topic: self._end_offsets},
            lag=self._lag(),
            still_seconds=self._waiting.still_seconds() if self._end_offsets else None,
            lag_lows=self._waiting.lows(),
        )
