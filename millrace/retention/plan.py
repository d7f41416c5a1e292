"""What would go, and why. Pure: no store, no clock.

The rules that keep an hour from coming back in part (`docs/publish-protocol.md`, `docs/retention.md`):

- A published hour is never deleted. It is replaced by an empty, *expired* object, which absorbs whatever
  lands for it late.
- The horizon passes an hour only when that empty object was seen in place for long enough that no write
  from before it can still arrive.
- The empty object goes only when the horizon has been past it for longer than any fold can take, for a
  fold that began before the horizon moved knows nothing of it.
- A landing object goes only when its hour is gone; before that, only a fold may delete it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from millrace.catalog import format_duration
from millrace.publish.layout import hour_of, published_key
from millrace.publish.settled import SETTLED_AFTER
from millrace.retention.found import DatasetFound, PublishedFound, StreamFound
from millrace.store import ObjectInfo

HORIZON_KNOWN_AFTER = timedelta(hours=1)
"""A fold looks at the horizon when it begins, and takes seconds; an hour is far beyond the slowest."""
KEPT_STATUSES = 10
"""The last words of the newest drivers stay whatever their age: of a stream that has been stopped for a
year they are all there is."""
KEPT_ORDERS = 10
"""As the statuses: the newest orders say why a stream is as it is."""

What = Literal[
    "published hours",
    "expired hours",
    "landing",
    "quarantine",
    "rejected",
    "quality",
    "approvals",
    "earlier state",
    "driver status",
    "orders",
]


@dataclass(frozen=True)
class Removal:
    """One object that goes; a published hour is replaced by an empty object, anything else deleted."""

    what: What
    owner: str
    """The dataset or stream."""
    key: str
    size: int
    """Bytes; 0 for an hour that was never published."""
    at: datetime
    """The hour itself for hours, else when the object was written (aware UTC)."""
    why: str
    """The same for all removals of one kind and owner."""
    hour: datetime | None = None
    """Of published hours only."""


@dataclass(frozen=True)
class Plan:
    """What one run would do."""

    removals: tuple[Removal, ...] = ()
    horizons: tuple[tuple[str, datetime], ...] = ()
    """Dataset and the hour that its horizon moves to."""


def plan(
    datasets: Iterable[DatasetFound], streams: Iterable[StreamFound], now: datetime, *, atomic: bool
) -> Plan:
    """The plan for everything found. `now` is by the store's clock; `atomic` as in ObjectStore."""
    removals: list[Removal] = []
    horizons: list[tuple[str, datetime]] = []
    for found in datasets:
        removals += _of_dataset(found, now, atomic=atomic)
        horizon = next_horizon(found, now, atomic=atomic)
        if horizon is not None:
            horizons.append((found.dataset.name, horizon))
    for stream in streams:
        removals += _of_stream(stream, now)
    return Plan(tuple(removals), tuple(horizons))


def first_kept(found: DatasetFound, now: datetime) -> datetime | None:
    """Every hour before this one has ended longer ago than hours are kept; None: none ever does."""
    kept = found.dataset.retention.published
    return hour_of(now - kept) if kept is not None else None


def next_horizon(found: DatasetFound, now: datetime, *, atomic: bool) -> datetime | None:
    """Where the horizon moves to, or None when it stays.

    It stops at the first hour that is not expired for good: of which something is published, or has landed
    without an empty object to absorb it, or whose empty object is so young that an older write may follow.
    """
    retention = found.dataset.retention
    if retention.published is None or retention.expired is None:
        return None
    wanted = hour_of(now - retention.published - retention.expired)
    safe = {one.hour for one in found.published if _is_settled(one, now, atomic)}
    open_hours = (
        {one.hour for one in found.published} | {one.hour for one in found.landing} | {*found.unreadable}
    )
    horizon = min([wanted, *(hour for hour in open_hours - safe if not _is_behind(found, hour))])
    return horizon if found.horizon is None or horizon > found.horizon else None


def _of_dataset(found: DatasetFound, now: datetime, *, atomic: bool) -> list[Removal]:
    retention, name = found.dataset.retention, found.dataset.name
    removals = _hours_to_expire(found, now)
    if found.horizon_set_at is not None and now - found.horizon_set_at > HORIZON_KNOWN_AFTER:
        removals += [
            Removal("expired hours", name, one.info.key, one.info.size, one.hour, "behind the horizon")
            for one in found.published
            if _is_behind(found, one.hour) and _is_settled(one, now, atomic)
        ]
    gone = {one.hour for one in found.published if _is_settled(one, now, atomic)}
    if retention.landing is not None:
        why = f"landed over {format_duration(retention.landing)} ago for hours that are gone"
        removals += [
            Removal("landing", name, one.info.key, one.info.size, one.info.last_modified, why)
            for one in found.landing
            if (one.hour in gone or _is_behind(found, one.hour))
            and now - one.info.last_modified > retention.landing
        ]
    removals += _older("quarantine", name, found.quarantine, retention.quarantine, now)
    removals += _older("rejected", name, found.rejected, retention.rejected, now)
    removals += _older("quality", name, found.quality, retention.quality, now)
    return removals + _older("approvals", name, found.approvals, retention.approvals, now)


def _hours_to_expire(found: DatasetFound, now: datetime) -> list[Removal]:
    """Hours with rows, and hours with nothing but what landed: without an empty object it would be folded."""
    first, name = first_kept(found, now), found.dataset.name
    kept = found.dataset.retention.published
    if first is None or kept is None:
        return []
    why = f"ended over {format_duration(kept)} ago"
    removals = [
        Removal("published hours", name, one.info.key, one.info.size, one.hour, why, hour=one.hour)
        for one in found.published
        if one.hour < first and not one.expired
    ]
    known = {one.hour for one in found.published} | {*found.unreadable}
    never_published = {one.hour for one in found.landing if one.hour < first} - known
    removals += [
        Removal("published hours", name, published_key(found.dataset.prefix, hour), 0, hour, why, hour=hour)
        for hour in never_published
        if not _is_behind(found, hour)
    ]
    return sorted(removals, key=lambda one: one.at)


def _of_stream(found: StreamFound, now: datetime) -> list[Removal]:
    retention, name = found.stream.retention, found.stream.name
    ended = [info for _, info in sorted(found.statuses)[:-KEPT_STATUSES]]
    orders = [info for _, info in sorted(found.orders)[:-KEPT_ORDERS]]
    return [
        *_earlier_state(found, now),
        *_older("driver status", name, ended, retention.status, now),
        *_older("orders", name, orders, retention.orders, now),
        *_older("rejected", name, found.rejected, retention.rejected, now),
    ]


def _earlier_state(found: StreamFound, now: datetime) -> list[Removal]:
    """Counted from when the present generation began: its first batch may go on from state of any age."""
    kept, present, since = found.stream.retention.state, found.present_generation, found.present_since
    if kept is None or present is None or since is None or now - since <= kept:
        return []
    why = f"of a life of the checkpoint that ended over {format_duration(kept)} ago"
    return [
        Removal("earlier state", found.stream.name, one.info.key, one.info.size, one.info.last_modified, why)
        for one in found.state
        if one.generation < present and one.info.key not in found.needed_state
    ]


def _older(
    what: What, owner: str, infos: Iterable[ObjectInfo], kept: timedelta | None, now: datetime
) -> list[Removal]:
    if kept is None:
        return []
    why = f"written over {format_duration(kept)} ago"
    return [
        Removal(what, owner, info.key, info.size, info.last_modified, why)
        for info in infos
        if now - info.last_modified > kept
    ]


def _is_settled(one: PublishedFound, now: datetime, atomic: bool) -> bool:
    return one.expired and (atomic or now - one.info.last_modified > SETTLED_AFTER)


def _is_behind(found: DatasetFound, hour: datetime) -> bool:
    return found.horizon is not None and hour < found.horizon
