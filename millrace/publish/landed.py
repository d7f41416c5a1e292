"""Reading an hour's landing area: what counts, joined as it is read; what does not, by name and reason."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from millrace.publish.codec import FormatError, decode_facts, empty_hour
from millrace.publish.generations import Generation, read_generation
from millrace.publish.hour import VERSION, HourState, add_nothing, newest_of
from millrace.publish.layout import LandingName, LayoutError, landing_prefix, parse_landing_key
from millrace.publish.side_by_side import SideBySide
from millrace.store import NotFound, ObjectStore

if TYPE_CHECKING:
    import polars as pl

    from millrace.catalog import DatasetSpec

GROUP = 48
"""Objects in memory at once. What is kept of them is the newest row per key: memory is bounded by the
hour's keys and a group, not by the number of its objects."""


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


@dataclass(frozen=True, eq=False)
class _Fetched:
    """One of: facts, the writer that a seal names, why it cannot be counted."""

    facts: pl.DataFrame | None = None
    writer: str | None = None
    error: str | None = None


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
    _floor: int = 0
    _facts: set[str] = field(default_factory=set)
    _seals: dict[str, str] = field(default_factory=dict)
    _unreadable: dict[str, str] = field(default_factory=dict)
    _generations: dict[int, Generation] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._rows = empty_hour(self.dataset).rows

    def read(self, published: HourState) -> Landed | None:
        """Everything of the hour that counts, or None when an object vanished while it was to be read.

        Raises StoreError.
        """
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
        for start in range(0, len(fresh), GROUP):
            added = self._read_group(published, fresh[start : start + GROUP], known)
            if added is None:
                return None
            dominated |= added
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
        """Join a group of objects to what is known; returns those that add nothing to the published hour."""
        found = self.side_by_side(lambda key: self._fetch(key, names[key]), keys)
        if None in found and not self.skip_vanished:
            return None
        frames: dict[str, pl.DataFrame] = {}
        for key, what in zip(keys, found, strict=True):
            if what is None:
                continue
            self._unreadable.pop(key, None)
            if what.error is not None:
                self._unreadable[key] = what.error
            elif what.facts is not None:
                frames[key] = what.facts
            elif what.writer is not None:
                self._seals[key] = what.writer
        if not frames:
            return set()
        self.facts_read += sum(frame.height for frame in frames.values())
        self._rows, conflicts = newest_of([self._rows, *frames.values()], self.dataset.keys)
        self.conflicts += conflicts
        self._facts |= set(frames)
        self._floor = max(self._floor, *(names[key].version.replay for key in frames))
        nothing_new = add_nothing(list(frames.values()), published, self.dataset.keys)
        return {
            key
            for key, nothing in zip(frames, nothing_new, strict=True)
            if nothing and names[key].version.replay <= published.replay_floor
        }

    def _fetch(self, key: str, name: LandingName) -> _Fetched | None:
        """Read and decode one object, in a thread: decoding costs as much as the request. None: vanished."""
        try:
            body = self.store.get(key).body
        except NotFound:
            return None
        try:
            if name.is_seal:
                return _Fetched(writer=_writer_of(body, key))
            return _Fetched(facts=_facts_of(body, name, self.dataset, key))
        except FormatError as error:
            return _Fetched(error=str(error))

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


def _facts_of(body: bytes, name: LandingName, dataset: DatasetSpec, key: str) -> pl.DataFrame:
    """The rows of a landing object that is what its name says. Raises FormatError."""
    if hashlib.sha256(body).hexdigest()[:16] != name.digest:
        raise FormatError(
            f"{key}: {len(body)} bytes that are not the ones it is named after: truncated or foreign"
        )
    rows = decode_facts(body, dataset, key)
    versions = rows[VERSION]
    if rows.height and (versions.min(), versions.max()) != (name.version.packed(),) * 2:
        raise FormatError(f"{key}: its rows carry other versions than its name")
    return rows


def _writer_of(body: bytes, key: str) -> str:
    """The writer that a seal names. Raises FormatError."""
    try:
        return str(json.loads(body)["writer"])
    except (ValueError, KeyError, TypeError) as error:
        raise FormatError(f"{key}: not a seal: {error!r}") from error
