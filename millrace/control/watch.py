"""One watcher of `control/` for any number of streams: one listing a round, a GET only for what changed.

Fifty streams must not mean fifty pollers. The watcher remembers what it has read by ETag; an object that
is unchanged is not read again, and the age of its heartbeat goes on from the last reading by the local
monotonic clock, so that no wall clock but the store's is ever compared.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from millrace.control.desired import DesiredState
from millrace.control.history import History
from millrace.control.layout import (
    CONTROL,
    ControlObjectError,
    Model,
    desired_key,
    epochs_prefix,
    history_key,
    number_of,
    parse,
    preflight_key,
    status_prefix,
)
from millrace.control.preflight import Preflight, PreflightObservation
from millrace.control.status import DriverStatus, StatusObservation
from millrace.control.view import StreamView
from millrace.store import NotFound, ObjectInfo, ObjectStore, StoredObject


@dataclass(frozen=True)
class _Read:
    etag: str
    found: StoredObject
    at: float
    """Monotonic seconds of the local clock."""


@dataclass(frozen=True)
class Snapshot:
    """All streams that have control objects, as of one round."""

    views: dict[str, StreamView]
    problems: dict[str, str]
    """Streams whose control objects cannot be understood, with the reason."""


class ControlWatch:
    """Not thread-safe: one round at a time."""

    def __init__(self, store: ObjectStore, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._monotonic = monotonic
        self._reads: dict[str, _Read] = {}

    def refresh(self, streams: frozenset[str] | None = None) -> Snapshot:
        """List `control/` and read what changed for these streams (all, when None).

        Raises StoreUnavailable; what was read before then is kept for the next round.
        """
        listed: dict[str, dict[str, ObjectInfo]] = {}
        for found in self._store.list_objects(CONTROL):
            stream = found.key[len(CONTROL) :].split("/", 1)[0]
            if streams is None or stream in streams:
                listed.setdefault(stream, {})[found.key] = found
        views: dict[str, StreamView] = {}
        problems: dict[str, str] = {}
        wanted: set[str] = set()
        for stream, objects in listed.items():
            try:
                views[stream] = self._view(stream, objects, wanted)
            except ControlObjectError as error:
                problems[stream] = str(error)
        self._reads = {key: read for key, read in self._reads.items() if key in wanted}
        return Snapshot(views, problems)

    def _view(self, stream: str, objects: dict[str, ObjectInfo], wanted: set[str]) -> StreamView:
        desired, _, desired_read = self._object(DesiredState, objects, desired_key(stream), wanted)
        history, history_etag, _ = self._object(History, objects, history_key(stream), wanted)
        newest = _newest(objects, status_prefix(stream))
        status, _, read = (
            self._object(DriverStatus, objects, newest, wanted) if newest else (None, None, None)
        )
        observation = None
        if status is not None and read is not None:
            observation = StatusObservation(status, read.found.last_modified, self._now(read))
        preflight, _, tried = self._object(Preflight, objects, preflight_key(stream), wanted)
        epoch_key = _newest(objects, epochs_prefix(stream))
        return StreamView(
            stream=stream,
            now=observation.read_at if observation else self._store_now(wanted),
            desired=desired,
            desired_at=desired_read.found.last_modified if desired_read else None,
            history=history or History(),
            history_etag=history_etag,
            status=observation,
            newest_epoch=(number_of(epoch_key) or 0) if epoch_key else 0,
            preflight=PreflightObservation(preflight, tried.found.last_modified)
            if preflight and tried
            else None,
        )

    def _object(
        self, model: type[Model], objects: dict[str, ObjectInfo], key: str, wanted: set[str]
    ) -> tuple[Model | None, str | None, _Read | None]:
        info = objects.get(key)
        if info is None:
            return None, None, None
        wanted.add(key)
        read = self._reads.get(key)
        # The same bytes written again keep their ETag and are news all the same: a heartbeat.
        if read is None or read.etag != info.etag or read.found.last_modified < info.last_modified:
            try:
                found = self._store.get(key)
            except NotFound:
                return None, None, None
            read = self._reads[key] = _Read(info.etag, found, self._monotonic())
        return parse(model, read.found.body, key), read.found.etag, read

    def _now(self, read: _Read) -> datetime:
        """The store's clock now, from its last answer and the time that has passed here since."""
        return read.found.server_date + timedelta(seconds=self._monotonic() - read.at)

    def _store_now(self, wanted: set[str]) -> datetime:
        reads = [read for key, read in self._reads.items() if key in wanted]
        if not reads:
            raise ControlObjectError("the stream has no desired state, no history and no status")
        return self._now(max(reads, key=lambda read: read.at))


def _newest(objects: dict[str, ObjectInfo], prefix: str) -> str | None:
    numbered = [key for key in objects if key.startswith(prefix) and number_of(key) is not None]
    return max(numbered, key=lambda key: number_of(key) or 0, default=None)
