"""The fold: join what landed for an hour into its published object. Any number may run at once.

Every rule below was found necessary by leaving it out in simulation; `docs/publish-protocol.md` has the
reasons. Nothing is learnt from a failed or unanswered write: the loop reads again and starts over.
"""

from __future__ import annotations

import json
import logging
import random
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

from millrace.publish.audit import Audit
from millrace.publish.codec import decode_facts, decode_hour, empty_hour, encode_hour
from millrace.publish.expire import read_horizon
from millrace.publish.generations import Generation, read_generation
from millrace.publish.hour import VERSION, HourState, newest_rows, same
from millrace.publish.layout import LandingName, landing_prefix, parse_landing_key, published_key, whole_hour
from millrace.publish.version import Version
from millrace.store import NotFound, ObjectStore, PreconditionFailed, StoreUnavailable

if TYPE_CHECKING:
    import polars as pl

    from millrace.catalog import DatasetSpec

log = logging.getLogger(__name__)

SETTLED_AFTER = timedelta(minutes=10)
"""On a store that checks If-Match first and writes later, a PUT that passed its check may still land this
long after it (client time-out 60 s, server idle 30 s, one attempt, and a wide margin). Until then the
published object may yet be replaced by an older one, so nothing that it holds may be deleted."""

MAX_PASSES = 8
READERS = 16


@dataclass(frozen=True)
class HourResult:
    """What became of one hour. `rows` are the published ones; `error` says what to do."""

    hour: datetime
    outcome: Literal["published", "unchanged", "quarantined", "failed"]
    status: str
    rows: int
    rev: int
    facts_read: int
    objects_deleted: int
    error: str | None = None


@dataclass(frozen=True)
class _Landed:
    """What one pass found: facts with the number of their object, seals by key, and who may be counted."""

    facts: pl.DataFrame
    fact_keys: list[str]
    seals: dict[str, tuple[str, int]]
    too_early: list[str]


def fold_hour(
    store: ObjectStore,
    dataset: DatasetSpec,
    hour: datetime,
    *,
    audit: Audit | None = None,
    pause: Callable[[float], None] = time.sleep,
) -> HourResult:
    """Publish whatever has landed for an hour, until nothing changes or the audit refuses.

    Of an hour before the retention horizon nothing is published; what landed for it is deleted. Raises
    FormatError for an object that cannot be read and StoreError when the store stays away.
    """
    hour = whole_hour(hour)
    horizon = read_horizon(store, dataset)
    if horizon is not None and hour < horizon:
        late = [info.key for info in store.list_objects(landing_prefix(dataset.name, hour))]
        gone = replace(empty_hour(dataset), expired=True)
        return _result(hour, gone, False, 0, _delete(store, late))
    reader = _LandingReader(store, dataset)
    facts_read = deleted = 0
    wrote = lost_last = False
    for attempt in range(MAX_PASSES):
        if lost_last:
            pause(random.uniform(0.05, 0.2) * 2 ** min(attempt, 5))
        lost_last = True
        published, etag, settled = _read_published(store, dataset, hour)
        landed = reader.read(hour)
        if landed is None:
            continue  # an object went away while we read: another fold was here
        facts_read = max(facts_read, landed.facts.height)
        candidate, dominated = _candidate(published, landed, dataset)
        if settled:
            deleted += _delete(store, dominated)
        _set_aside(store, dataset, landed.too_early)
        if same(candidate, published):
            return _result(hour, published, wrote, facts_read, deleted)
        if audit is not None:
            verdict = audit(dataset, hour, candidate, published)
            candidate = replace(candidate, quality=verdict.quality)
            if not verdict.passed:  # what landed stays, so nothing is lost
                refused = _result(hour, published, wrote, facts_read, deleted)
                return replace(refused, outcome="quarantined", error=verdict.reason)
        candidate = replace(candidate, rev=published.rev + 1)
        try:
            key, body = published_key(dataset.prefix, hour), encode_hour(candidate, dataset)
            store.put(key, body, if_match=etag, if_absent=etag is None)
        except (PreconditionFailed, NotFound, StoreUnavailable) as problem:
            log.info("%s %s: write not confirmed (%s); reading again", dataset.name, hour, problem)
            continue
        wrote, lost_last = True, False
    published, _, _ = _read_published(store, dataset, hour)
    advice = f"still changing after {MAX_PASSES} passes: other publishers are at work; run it again"
    return replace(_result(hour, published, wrote, facts_read, deleted), outcome="failed", error=advice)


def _read_published(
    store: ObjectStore, dataset: DatasetSpec, hour: datetime
) -> tuple[HourState, str | None, bool]:
    """The published hour, its ETag, and whether what it holds may be deleted elsewhere."""
    key = published_key(dataset.prefix, hour)
    try:
        found = store.get(key)
    except NotFound:
        return empty_hour(dataset), None, store.if_match_is_atomic
    # Both times are the store's own, of one answer: the client's clock proves nothing.
    age = found.server_date - found.last_modified
    return decode_hour(found.body, dataset, key), found.etag, store.if_match_is_atomic or age > SETTLED_AFTER


class _LandingReader:
    """Reads an hour's landing area again and again, each object once: one name means one content for ever."""

    def __init__(self, store: ObjectStore, dataset: DatasetSpec) -> None:
        self._store = store
        self._dataset = dataset
        self._facts: dict[str, pl.DataFrame] = {}
        self._seals: dict[str, str] = {}
        self._generations: dict[int, Generation] = {}

    def read(self, hour: datetime) -> _Landed | None:
        """Everything of the hour that counts, or None when an object vanished while it was to be read."""
        import polars as pl

        infos = self._store.list_objects(landing_prefix(self._dataset.name, hour))
        names = {info.key: parse_landing_key(info.key) for info in infos}
        known = {key: name for key, name in names.items() if self._generation(name) is not None}
        too_early = [key for key, name in known.items() if _is_too_early(name, self._generation(name))]
        counted = sorted(set(known) - set(too_early))
        try:
            self._fetch([key for key in counted if key not in self._facts and key not in self._seals], known)
        except NotFound:
            return None
        fact_keys = [key for key in counted if not known[key].is_seal]
        frames = [
            self._facts[key].with_columns(pl.lit(number, pl.Int32).alias("_object"))
            for number, key in enumerate(fact_keys)
        ]
        nothing = empty_hour(self._dataset).rows.with_columns(pl.lit(None, pl.Int32).alias("_object"))
        return _Landed(
            facts=pl.concat(frames) if frames else nothing,
            fact_keys=fact_keys,
            seals={
                key: (self._seals[key], known[key].version.packed()) for key in counted if key in self._seals
            },
            too_early=too_early,
        )

    def _fetch(self, keys: Sequence[str], names: Mapping[str, LandingName]) -> None:
        if not keys:
            return
        with ThreadPoolExecutor(max_workers=min(READERS, len(keys))) as pool:
            bodies = list(pool.map(lambda key: self._store.get(key).body, keys))
        for key, body in zip(keys, bodies, strict=True):
            if names[key].is_seal:
                self._seals[key] = str(json.loads(body)["writer"])
            else:
                self._facts[key] = decode_facts(body, self._dataset, key)

    def _generation(self, name: LandingName) -> Generation | None:
        number = name.version.generation
        if number not in self._generations:
            found = read_generation(self._store, self._dataset.name, number)
            if found is None:
                return None
            self._generations[number] = found
        return self._generations[number]


def _is_too_early(name: LandingName, generation: Generation | None) -> bool:
    first = generation.first_complete_hour if generation else None
    return first is not None and not name.is_seal and name.hour < first


def _candidate(published: HourState, landed: _Landed, dataset: DatasetSpec) -> tuple[HourState, list[str]]:
    """The join of all that is known, and the landing objects that the published hour already dominates."""
    import polars as pl

    if published.expired:
        return published, [*landed.fact_keys, *landed.seals]
    everything = pl.concat([published.rows, landed.facts.drop("_object")])
    rows, conflicts = newest_rows(everything, dataset.keys, published.replay_floor)
    if conflicts:
        log.error(
            "%s: %d keys have different contents under one version; the greater was taken. "
            "Two drivers wrote one batch differently: keep the landing objects and report this",
            dataset.name,
            conflicts,
        )
    unchanged = rows.equals(published.rows)
    seals = dict(published.seals)
    for writer, version in landed.seals.values():
        seals[writer] = max(seals.get(writer, -1), version)
    final = published.final
    # Seen in the published object before the LIST: so every fact that the seal covers was in this listing
    # or is in the published rows. A seal met in the listing itself proves nothing yet.
    if unchanged and all(writer in published.seals for writer in dataset.writers):
        newest = max(published.seals.values())
        final = newest if final is None else max(final, newest)
    candidate = replace(published, rows=rows, seals=seals, final=final)
    # When nothing new was found, join(P, all) = P, and so join(P, l) = P for each object l.
    dominated = list(landed.fact_keys) if unchanged else _dominated_facts(published, landed, dataset)
    dominated += [
        key
        for key, (writer, version) in landed.seals.items()
        if published.final is not None
        and published.final >= version
        and published.seals.get(writer, -1) >= version
    ]
    return candidate, dominated


def _dominated_facts(published: HourState, landed: _Landed, dataset: DatasetSpec) -> list[str]:
    """Objects none of whose rows could change the published hour."""
    import polars as pl

    if not landed.fact_keys:
        return []
    below_floor = Version(published.replay_floor, 0, 0).packed()
    open_rows = landed.facts.filter(pl.col(VERSION) >= below_floor)
    # A row that stands in the published hour as it is, or under a newer version, adds nothing.
    open_rows = open_rows.join(published.rows, on=published.rows.columns, how="anti")
    newer = published.rows.select([*dataset.keys, pl.col(VERSION).alias("_published")])
    open_rows = open_rows.join(newer, on=dataset.keys, how="left")
    open_rows = open_rows.filter(pl.col("_published").is_null() | (pl.col("_published") <= pl.col(VERSION)))
    needed = set(open_rows["_object"].unique().to_list())
    return [key for number, key in enumerate(landed.fact_keys) if number not in needed]


def _delete(store: ObjectStore, keys: Sequence[str]) -> int:
    if keys:
        with ThreadPoolExecutor(max_workers=READERS) as pool:
            list(pool.map(store.delete, keys))
    return len(keys)


def _set_aside(store: ObjectStore, dataset: DatasetSpec, keys: Sequence[str]) -> None:
    """Facts of an hour that their generation saw only in part: kept for a person, never counted."""
    for key in keys:
        log.warning("%s: set aside %s: its generation began after this hour", dataset.name, key)
        try:
            store.put(key.replace("landing/", "rejected/facts/", 1), store.get(key).body)
        except NotFound:
            continue
        store.delete(key)


def _result(hour: datetime, state: HourState, wrote: bool, facts_read: int, deleted: int) -> HourResult:
    return HourResult(
        hour=hour,
        outcome="published" if wrote else "unchanged",
        status=state.status,
        rows=state.rows.height,
        rev=state.rev,
        facts_read=facts_read,
        objects_deleted=deleted,
    )
