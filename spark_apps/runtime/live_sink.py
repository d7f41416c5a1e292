"""The live view of a stream in the object store."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from millrace.control.layout import ControlObjectError, parse
from millrace.control.live import LiveView, live_key
from millrace.store import NotFound, ObjectStore, PreconditionFailed, StoreError

log = logging.getLogger(__name__)


class LiveSink:
    """`live/<stream>.json`: one PUT per micro-batch, off its path; only the newest driver epoch writes it."""

    def __init__(self, store: ObjectStore, stream: str, driver_epoch: int) -> None:
        self._store, self._stream, self._epoch = store, stream, driver_epoch
        self._etag: str | None = None
        self._outdated = False
        self._waiting: LiveView | None = None
        self._lock = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="live", daemon=True)
        self._thread.start()

    def show(self, content: Mapping[str, Any], *, batch: int) -> None:
        """What is to be seen now; a view that was not yet written is left out."""
        view = LiveView(
            stream=self._stream,
            driver_epoch=self._epoch,
            batch=batch,
            written_at=datetime.now(UTC),
            content=dict(content),
        )
        with self._lock:
            self._waiting = view
            self._lock.notify()

    def close(self) -> None:
        """Write what waits, then end."""
        with self._lock:
            self._closed = True
            self._lock.notify()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        while True:
            with self._lock:
                self._lock.wait_for(lambda: self._waiting is not None or self._closed)
                view, self._waiting = self._waiting, None
            if view is None:
                return
            try:
                self._write(view)
            except (StoreError, ControlObjectError) as error:  # the next batch brings a newer one
                log.warning("%s: the live view was not written: %s", self._stream, error)

    def _write(self, view: LiveView) -> None:
        key, body = live_key(self._stream), view.model_dump_json().encode()
        while not self._outdated:
            try:
                self._etag = self._store.put(key, body, if_match=self._etag, if_absent=self._etag is None)
                return
            except (PreconditionFailed, NotFound):
                self._look(key)

    def _look(self, key: str) -> None:
        """Somebody else wrote it: an older driver, whose place this one takes, or a newer one."""
        try:
            found = self._store.get(key)
        except NotFound:
            self._etag = None
            return
        self._etag = found.etag
        self._outdated = parse(LiveView, found.body, key).driver_epoch > self._epoch
