"""What lies in the store that retention is about, as plain data: the plan needs nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from millrace.catalog import DatasetSpec
from millrace.control.supervised import Supervised
from millrace.store import ObjectInfo


@dataclass(frozen=True)
class PublishedFound:
    """A published hour's object. `expired`: it is the empty one that retention left."""

    hour: datetime
    info: ObjectInfo
    expired: bool


@dataclass(frozen=True)
class LandingFound:
    """A landing object and the hour (aware UTC) that its name says."""

    hour: datetime
    info: ObjectInfo


@dataclass(frozen=True)
class DatasetFound:
    """What there is of one dataset. `published` may leave out hours that are too young to go."""

    dataset: DatasetSpec
    horizon: datetime | None = None
    """The first hour that is kept (aware UTC)."""
    horizon_set_at: datetime | None = None
    """When the horizon was last moved, by the store's clock."""
    published: tuple[PublishedFound, ...] = ()
    unreadable: tuple[datetime, ...] = ()
    """Hours whose object is no published hour: for a person to look at, and nothing is done about them."""
    landing: tuple[LandingFound, ...] = ()
    quarantine: tuple[ObjectInfo, ...] = ()
    rejected: tuple[ObjectInfo, ...] = ()
    quality: tuple[ObjectInfo, ...] = ()
    approvals: tuple[ObjectInfo, ...] = ()


@dataclass(frozen=True)
class StateFound:
    """An object of a stream's carried state and the generation that wrote it."""

    generation: int
    info: ObjectInfo


@dataclass(frozen=True)
class StreamFound:
    """What there is of one stream, or of a feed, which has statuses and orders only."""

    stream: Supervised
    state: tuple[StateFound, ...] = ()
    present_generation: int | None = None
    """The newest that has committed any state; a checkpoint that is opened goes on from it."""
    present_since: datetime | None = None
    """When that generation was made known."""
    needed_state: frozenset[str] = frozenset()
    """Keys that a manifest of the present generation names."""
    statuses: tuple[tuple[int, ObjectInfo], ...] = ()
    """Driver epoch and object."""
    rejected: tuple[ObjectInfo, ...] = ()
    orders: tuple[tuple[int, ObjectInfo], ...] = ()
    """Revision and object; how a reset ended is not among them, for a driver that begins looks for it."""
