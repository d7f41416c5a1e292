"""What a driver says of itself with each heartbeat.

It asks Kafka for the end offsets itself, because a query that is stuck emits no progress events.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from millrace.catalog import StreamSpec
from millrace.control.heartbeat import Heartbeat
from millrace.control.own_host import OwnHost
from millrace.control.status import DriverState, DriverStatus
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
        self._spec = spec
        self._progress = progress
        self._source: StreamSource | None = None
        self._end_offsets: dict[str, int] = {}
        self._waiting = Waiting()
        self._host = OwnHost()
        self._state: DriverState = "starting"
        self._fixed: dict[str, Any] = {
            "stream": spec.name,
            "driver_epoch": driver_epoch,
            "spec_revision": spec_revision,
            "host": socket.gethostname(),
            "pid": pid,
            "started_at": datetime.now(UTC),
        }
        self._last_words: dict[str, Any] = {}
        self._heartbeat = Heartbeat(
            store,
            spec.name,
            driver_epoch,
            spec.heartbeat.total_seconds(),
            status=self._look_and_tell,
            on_stop=on_stop,
            on_fenced=on_fenced,
        )

    def start(self) -> None:
        """Report at once, then every heartbeat."""
        self._heartbeat.start()

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
        self._heartbeat.wake()

    def nudge(self) -> None:
        """Something happened that is worth an early report (the first facts)."""
        self._heartbeat.wake()

    def end(self, state: DriverState, exit_code: int, error: str | None) -> None:
        """The last words: stop the heartbeat and write the final status."""
        self._last_words = {"exit_code": exit_code, "error": error}
        self._state = state
        self._heartbeat.end()

    def _look_and_tell(self) -> DriverStatus:
        if self._source is not None and not self._last_words:
            self._look_at(self._source)
        return self._status()

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

    def _status(self) -> DriverStatus:
        return DriverStatus(
            **self._fixed,
            **self._progress.snapshot(),
            **self._last_words,
            state=self._state,
            host_gone_at=self._host.gone_at(),
            heartbeat_at=datetime.now(UTC),
            offsets={self._spec.topic: dict(self._progress.next_offsets)},
            end_offsets={self._spec.topic: self._end_offsets},
            lag=self._lag(),
            still_seconds=self._waiting.still_seconds() if self._end_offsets else None,
            lag_lows=self._waiting.lows(),
        )
