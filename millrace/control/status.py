"""What a driver says about itself: `control/<stream>/status/<driver_epoch>.json`.

Every driver writes only the object of its own epoch, so no driver overwrites another's last words. How
old a heartbeat is, is read off the store's clock (the object's Last-Modified against the answer's Date):
the clocks of driver and reader need not agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from pydantic import Field

from millrace.control.feed_report import FeedReport
from millrace.control.layout import (
    ControlObject,
    UtcDatetime,
    number_of,
    parse,
    status_key,
    status_prefix,
)
from millrace.store import NotFound, ObjectStore

DriverState = Literal["starting", "running", "stopping", "stopped", "finished", "failed", "fenced"]
ENDED: frozenset[str] = frozenset({"stopped", "finished", "failed", "fenced"})
"""States after which a driver writes no more."""

Offsets = dict[str, dict[str, int]]
"""Topic to partition (as text, since JSON has no other keys) to offset."""


class DriverStatus(ControlObject):
    """A driver's heartbeat and progress. All times are UTC, durations are seconds."""

    stream: str
    driver_epoch: int = Field(ge=1)
    spec_revision: int
    generation: int | None = None
    """The life of the checkpoint; None until the driver has opened it."""
    host: str
    pid: int
    code: str | None = None
    """The version of the code that it runs (see `millrace.control.code_version`); None: not known yet."""
    state: DriverState
    started_at: UtcDatetime
    heartbeat_at: UtcDatetime
    last_batch_id: int | None = None
    last_batch_at: UtcDatetime | None = None
    last_progress_at: UtcDatetime | None = None
    """When a micro-batch with records was last committed."""
    last_idle_at: UtcDatetime | None = None
    """When Spark last said that there was nothing to do."""
    batches: int = 0
    """Micro-batches of this driver epoch, as `records`, `facts` and `rejected` are."""
    records: int = 0
    facts: int = 0
    rejected: dict[str, int] = Field(default_factory=dict)
    """Rejected rows by reason."""
    offsets: Offsets = Field(default_factory=dict)
    """The next offset to be read."""
    end_offsets: Offsets = Field(default_factory=dict)
    """The next offset to be written, asked of Kafka apart from the query, which may be stuck."""
    lag: int | None = None
    """Records that wait; None for a source without offsets or before the first look."""
    still_seconds: float | None = None
    """For how long records have waited while nothing was committed, by the driver's monotonic clock; 0 when none
    wait. None: a driver that does not say so."""
    lag_lows: tuple[int, ...] = ()
    """The lowest lag of each half minute of the last half hour; see `millrace.control.waiting`."""
    batch_seconds_p50: float | None = None
    batch_seconds_p99: float | None = None
    watermark: UtcDatetime | None = None
    spark_ui: str | None = None
    """The address of its Spark UI, when that is on."""
    error: str | None = None
    exit_code: int | None = None
    host_gone_at: UtcDatetime | None = None
    """When it saw that the stream host that had started it is gone; None: it is there, or nobody's."""
    feed: FeedReport | None = None
    """Of a feed: how it stands with its source. Its `records` are messages that Kafka has taken, its `lag` those on
    their way there, `rejected` what it could not read."""

    @property
    def worked_for(self) -> timedelta:
        """From its start until something was read, or nothing waited, for the last time; by its own clock."""
        moved = [moment for moment in (self.last_progress_at, self.last_idle_at) if moment is not None]
        return max([moment - self.started_at for moment in moved], default=timedelta(0))

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    @property
    def without_host_for(self) -> timedelta | None:
        """For how long it has known that its stream host is gone, by its own clock; None: it has one."""
        return None if self.host_gone_at is None else self.heartbeat_at - self.host_gone_at


@dataclass(frozen=True)
class StatusObservation:
    """A status with when the store says it was written and read."""

    status: DriverStatus
    written_at: datetime
    read_at: datetime

    @property
    def age(self) -> timedelta:
        """How long ago the driver wrote, by the store's clock alone (resolution 1 s)."""
        return max(self.read_at - self.written_at, timedelta(0))


def write_status(store: ObjectStore, status: DriverStatus) -> None:
    """Put a driver's status in its place. Raises StoreUnavailable."""
    store.put(status_key(status.stream, status.driver_epoch), status.to_body())


def read_statuses(store: ObjectStore, stream: str, *, newest: int | None = None) -> list[DriverStatus]:
    """The statuses of a stream's drivers by epoch, oldest first; with `newest`, only the last so many.

    One GET each. Raises ControlObjectError for one that cannot be understood.
    """
    return [observed.status for observed in observe_statuses(store, stream, newest=newest)]


def newest_status(store: ObjectStore, stream: str) -> DriverStatus | None:
    """The status of the greatest driver epoch that has written one."""
    observed = observe_newest(store, stream)
    return observed.status if observed else None


def observe_newest(store: ObjectStore, stream: str) -> StatusObservation | None:
    """As `newest_status`, with its age by the store's clock."""
    return next(iter(observe_statuses(store, stream, newest=1)), None)


def observe_statuses(
    store: ObjectStore, stream: str, *, newest: int | None = None
) -> list[StatusObservation]:
    """As `read_statuses`, with their ages by the store's clock."""
    numbers = (number_of(found.key) for found in store.list_objects(status_prefix(stream)))
    epochs = sorted(number for number in numbers if number is not None)
    if newest is not None:
        epochs = epochs[-newest:]
    observed = (observe_status(store, stream, epoch) for epoch in epochs)
    return [one for one in observed if one is not None]


def observe_status(store: ObjectStore, stream: str, driver_epoch: int) -> StatusObservation | None:
    """The status of one driver epoch with its age; None when it has written none."""
    key = status_key(stream, driver_epoch)
    try:
        found = store.get(key)
    except NotFound:
        return None
    return StatusObservation(parse(DriverStatus, found.body, key), found.last_modified, found.server_date)
