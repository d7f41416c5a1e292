"""Reading an hour's landing area: what counts, joined as it is read; what does not, by name and reason."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from millrace.publish.codec import FormatError, empty_hour
from millrace.publish.generations import Generation, read_generation
from millrace.publish.hour import HourState, add_nothing, newest_of
from millrace.publish.joined import Joined, join_objects
from millrace.publish.layout import LandingName, LayoutError, landing_prefix, parse_landing_key
from millrace.publish.side_by_side import AT_ONCE, SideBySide
from millrace.store import NotFound, ObjectStore

if TYPE_CHECKING:
    import polars as pl

    from millrace.catalog import DatasetSpec

GROUP = 48
"""Objects that one thread reads and then joins: decoded together they cost half as much each."""

DECODING_AT_ONCE = 2
"""Groups decoded at the same time. Only their newest rows are kept: memory is bounded by the hour's keys,
these groups, and the undecoded bodies of the groups that other threads read, not by the hour's objects."""

JOINED_AT_ONCE = 8
"""Groups whose newest rows are kept before they are joined: less hashing for a little memory."""


@dataclass(frozen=True)
class Landed:
    """What is known of the landing area after a listing.

    `rows`: the newest row per key of every object read so far. `replay_floor`: the greatest replay among
    them. `facts` and `seals`: the objects that this listing named and that count. `dominated`: those of
    `facts` that add nothing to the published hour the listing was compared with.
    """

    rows: pl.DataFrame
    replay_floor: int
    facts: frozenset[str]
    dominated: frozenset[str]
    seals: Mapping[str, tuple[str, int]]
    too_early: Sequence[str]
    unreadable: Mapping[str, str]


@dataclass
class LandingReader:
    """Reads an hour again and again, each object once: one name means one content for ever."""

    store: ObjectStore
    dataset: DatasetSpec
    hour: datetime
    side_by_side: SideBySide
    skip_vanished: bool = False
    """For readers, who look into the published hour afterwards; a fold must start again instead."""
    facts_read: int = 0
    conflicts: int = 0
    _rows: pl.DataFrame = field(init=False)
    _groups: list[pl.DataFrame] = field(default_factory=list)
    _floor: int = 0
    _facts: set[str] = field(default_factory=set)
    _seals: dict[str, str] = field(default_factory=dict)
    _unreadable: dict[str, str] = field(default_factory=dict)
    _generations: dict[int, Generation] = field(default_factory=dict)
    _decoding: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(DECODING_AT_ONCE))
    _joining: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._rows = empty_hour(self.dataset).rows

    def read(self, published: HourState) -> Landed | None:
        """Everything of the hour that counts, or None when an object vanished while it was to be read.

        Raises StoreError.
        """
        self._join_groups()
        names: dict[str, LandingName] = {}
        unreadable: dict[str, str] = {}
        for info in self.store.list_objects(landing_prefix(self.dataset.name, self.hour)):
            try:
                names[info.key] = parse_landing_key(info.key)
            except LayoutError:
                unreadable[info.key] = "its name is not one that a driver writes"
        known = {key: name for key, name in names.items() if self._generation(name) is not None}
        too_early = [key for key, name in known.items() if _is_too_early(name, self._generation(name))]
        counted = sorted(set(known) - set(too_early))
        dominated = self._dominated_so_far(published, counted)
        fresh = [key for key in counted if not (key in self._facts or key in self._seals)]
        size = min(GROUP, -(-len(fresh) // AT_ONCE) or 1)
        groups = [fresh[start : start + size] for start in range(0, len(fresh), size)]
        vanished = False
        for added in self.side_by_side(lambda group: self._read_group(published, group, known), groups):
            vanished |= added is None
            dominated |= added or set()
        self._join_groups()
        if vanished:
            return None
        unreadable |= {key: self._unreadable[key] for key in counted if key in self._unreadable}
        facts = frozenset(key for key in counted if key in self._facts)
        return Landed(
            rows=self._rows,
            replay_floor=self._floor,
            facts=facts,
            dominated=frozenset(dominated),
            seals={
                key: (self._seals[key], known[key].version.packed()) for key in counted if key in self._seals
            },
            too_early=too_early,
            unreadable=unreadable,
        )

    def _dominated_so_far(self, published: HourState, counted: Sequence[str]) -> set[str]:
        """Objects read in earlier passes, when the published hour now holds all that was read."""
        before = {key for key in counted if key in self._facts}
        if not before or self._floor > published.replay_floor:
            return set()
        return before if add_nothing([self._rows], published, self.dataset.keys)[0] else set()

    def _read_group(
        self, published: HourState, keys: Sequence[str], names: Mapping[str, LandingName]
    ) -> set[str] | None:
        """Join some objects to what is known, in a thread; returns those that add nothing to the published.

        None: one of them vanished.
        """
        bodies: dict[str, bytes] = {}
        for key in keys:
            try:
                bodies[key] = self.store.get_body(key)
            except NotFound:
                if not self.skip_vanished:
                    return None
        seals = {key: body for key, body in bodies.items() if names[key].is_seal}
        written = {key: body for key, body in bodies.items() if key not in seals}
        with self._decoding:
            joined = join_objects(written, names, published, self.dataset) if written else None
        with self._joining:
            self._note_seals(seals)
            return self._note_facts(joined, names, published) if joined else set()

    def _join_groups(self) -> None:
        if not self._groups:
            return
        self._rows, conflicts = newest_of([self._rows, *self._groups], self.dataset.keys)
        self.conflicts += conflicts
        self._groups.clear()

    def _note_seals(self, seals: Mapping[str, bytes]) -> None:
        for key, body in seals.items():
            self._unreadable.pop(key, None)
            try:
                self._seals[key] = _writer_of(body, key)
            except FormatError as error:
                self._unreadable[key] = str(error)

    def _note_facts(self, joined: Joined, names: Mapping[str, LandingName], published: HourState) -> set[str]:
        for key in joined.adding:
            self._unreadable.pop(key, None)
        self._unreadable |= joined.errors
        self.facts_read += joined.read
        if not joined.adding:
            return set()
        self.conflicts += joined.conflicts
        self._groups.append(joined.newest)
        if len(self._groups) >= JOINED_AT_ONCE:
            self._join_groups()
        self._facts |= set(joined.adding)
        self._floor = max(self._floor, *(names[key].version.replay for key in joined.adding))
        return {
            key
            for key, adds in joined.adding.items()
            if not adds and names[key].version.replay <= published.replay_floor
        }

    def _generation(self, name: LandingName) -> Generation | None:
        number = name.version.generation
        if number not in self._generations:
            found = read_generation(self.store, self.dataset.name, number)
            if found is None:
                return None
            self._generations[number] = found
        return self._generations[number]


def _is_too_early(name: LandingName, generation: Generation | None) -> bool:
    first = generation.first_complete_hour if generation else None
    return first is not None and not name.is_seal and name.hour < first


def _writer_of(body: bytes, key: str) -> str:
    """The writer that a seal names. Raises FormatError."""
    try:
        return str(json.loads(body)["writer"])
    except (ValueError, KeyError, TypeError) as error:
        raise FormatError(f"{key}: not a seal: {error!r}") from error
