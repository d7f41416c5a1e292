"""Whether a stream does its work, as the last gate of the containers sees it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta

from millrace.catalog import Catalog
from millrace.control.desired import DesiredState
from millrace.control.status import DriverStatus

SILENT_AFTER = timedelta(minutes=1)


@dataclass(frozen=True)
class Sight:
    """One stream as it is now. `age`: of its status, by the store's clock."""

    paused: bool
    desired: DesiredState | None
    status: DriverStatus | None
    age: timedelta | None
    hours: int
    """Published ones; counting may stop at the first."""


def left_alone(name: str, sight: Sight) -> str | None:
    """Why nothing is to be expected of a stream: a person paused or stopped it."""
    if sight.desired is not None and sight.desired.state == "stopped":
        return f"{name} stays stopped, as {sight.desired.who} wanted ({sight.desired.why})"
    if sight.paused:
        return f"{name}: its DAG stream__{name} is paused"
    return None


def not_working(name: str, sight: Sight, *, fed: bool) -> str | None:
    """What a stream lacks, None when it works. `fed`: whether a feed with a past brings it records to count."""
    status, log = sight.status, f"stream-{name}.log"
    if status is None or sight.age is None:
        return f"{name}: no driver has said a word yet; see the DAG stream__{name}"
    if status.state == "failed":
        return f"{name} failed: {status.error}; what it printed: logs/{log} in streamhost"
    if status.state != "running":
        return f"{name} is {status.state}"
    if sight.age > SILENT_AFTER:
        return f"{name} has said nothing for {sight.age.total_seconds():.0f} s; see logs/{log} in streamhost"
    # A driver that went on where another stopped may find nothing to count; but then nothing waits either.
    if fed and not status.records and not (sight.hours and status.lag == 0):
        return f"{name} runs, and has counted nothing: does its feed run? See the log feed-….log beside {log}"
    return None


def has_a_past(catalog: Catalog, feed: str | None, begun: Collection[str]) -> bool:
    """Whether a feed that runs by itself brings hours that are over, which can be published at once."""
    return feed is not None and feed in begun and "history" in catalog.feeds[feed].options
