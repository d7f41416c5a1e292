"""What a feed reads, whatever it came from: polls of stations, and what could not be read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Station(NamedTuple):
    """One station as a poll saw it; None where the feed does not say.

    `bikes` are those one could rent at that moment, `ebikes` the electric ones among them, `docks` the free
    ones. A named tuple, because it is hashable: most stations do not change from one poll to the next, and
    their JSON is made only once.
    """

    station_id: str
    bikes: int
    docks: int | None = None
    ebikes: int | None = None
    bikes_disabled: int | None = None
    docks_disabled: int | None = None
    installed: bool | None = None
    renting: bool | None = None
    returning: bool | None = None


@dataclass(frozen=True, slots=True)
class Poll:
    """One look at all stations of a system. Both times are whole epoch seconds UTC.

    `observed_at` is when the counts were true (the feed's own `last_updated` where it has one), `fetched_at`
    when they were read.
    """

    system_id: str
    observed_at: int
    fetched_at: int
    stations: Sequence[Station]


@dataclass(frozen=True, slots=True)
class Rejection:
    """What could not be read: a reason from a small set of words, the detail for a person, and the bytes."""

    reason: str
    detail: str
    body: bytes


class Unreadable(ValueError):
    """Raised inside parsers; carries the reason and the detail of the Rejection it becomes."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Parsed:
    """What one reply gave: a poll, or why not, or a poll and the stations in it that could not be read."""

    poll: Poll | None
    rejections: tuple[Rejection, ...] = ()
    ttl: int | None = None
    """Seconds for which the source asks not to be read again, where it says so."""
