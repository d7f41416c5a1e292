"""The fold: join what landed for an hour into its published object. Any number may run at once.

Every rule below was found necessary by leaving it out in simulation; `docs/publish-protocol.md` has the
reasons. Nothing is learnt from a failed or unanswered write: the loop reads again and starts over.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from millrace.publish.audit import Audit
from millrace.publish.codec import decode_hour, empty_hour, encode_hour
from millrace.publish.expire import read_horizon
from millrace.publish.hour import HourState, newest_of, same
from millrace.publish.landed import Landed, LandingReader
from millrace.publish.layout import landing_prefix, published_key, whole_hour
from millrace.publish.set_aside import set_aside
from millrace.publish.settled import SETTLED_AFTER, is_settled
from millrace.publish.side_by_side import SideBySide, in_threads
from millrace.store import NotFound, ObjectStore, PreconditionFailed, StoreUnavailable

if TYPE_CHECKING:
    from millrace.catalog import DatasetSpec

__all__ = ["MAX_PASSES", "SETTLED_AFTER", "HourResult", "fold_hour"]

log = logging.getLogger(__name__)

MAX_PASSES = 8


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
    set_aside: int = 0
    """Landing objects of this hour that could not be counted, kept with the reason below `rejected/`."""


def fold_hour(
    store: ObjectStore,
    dataset: DatasetSpec,
    hour: datetime,
    *,
    audit: Audit | None = None,
    pause: Callable[[float], None] = time.sleep,
    side_by_side: SideBySide = in_threads,
) -> HourResult:
    """Publish whatever has landed for an hour, until nothing changes or the audit refuses.

    What cannot be counted is set aside and the hour goes on. Of an hour before the retention horizon nothing
    is published, and what landed for it is deleted. Raises FormatError for a published hour that cannot be
    read and StoreError when the store stays away.
    """
    hour = whole_hour(hour)
    reader = LandingReader(store, dataset, hour, side_by_side)
    deleted = aside = 0
    wrote = lost_last = False
    for attempt in range(MAX_PASSES):
        if lost_last:
            pause(random.uniform(0.05, 0.2) * 2 ** min(attempt, 5))
        lost_last = True
        published, etag, settled = _read_published(store, dataset, hour)
        if published.expired:  # absorbs everything; nothing need be read
            late = _listed(store, dataset, hour) if settled else []
            return _result(hour, published, wrote, reader.facts_read, _delete(store, late, side_by_side))
        landed = reader.read(published)
        if landed is None:
            continue  # an object went away while we read: another fold was here
        candidate, dominated = _candidate(published, landed, dataset)
        if settled:
            deleted += _delete(store, dominated, side_by_side)
        aside += _set_aside(store, landed)
        if same(candidate, published):
            return _result(hour, published, wrote, reader.facts_read, deleted, aside)
        if audit is not None:
            verdict = audit(dataset, hour, candidate, published)
            candidate = replace(candidate, quality=verdict.quality)
            if not verdict.passed:  # what landed stays, so nothing is lost
                refused = _result(hour, published, wrote, reader.facts_read, deleted, aside)
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
    result = _result(hour, published, wrote, reader.facts_read, deleted, aside)
    return replace(result, outcome="failed", error=advice)


def _read_published(
    store: ObjectStore, dataset: DatasetSpec, hour: datetime
) -> tuple[HourState, str | None, bool]:
    """The published hour, its ETag, and whether what it holds may be deleted elsewhere."""
    key = published_key(dataset.prefix, hour)
    found = None
    with suppress(NotFound):
        found = store.get(key)
    # After the GET: the empty object of an expired hour goes only once the horizon has passed it.
    horizon = read_horizon(store, dataset)
    if horizon is not None and hour < horizon:
        return replace(empty_hour(dataset), expired=True), None, True
    if found is None:
        return empty_hour(dataset), None, store.if_match_is_atomic
    return decode_hour(found.body, dataset, key), found.etag, is_settled(store, found)


def _candidate(published: HourState, landed: Landed, dataset: DatasetSpec) -> tuple[HourState, list[str]]:
    """The join of all that is known, and the landing objects that the published hour already dominates."""
    floor = max(published.replay_floor, landed.replay_floor)
    rows, conflicts = newest_of([published.rows, landed.rows], dataset.keys, floor)
    if conflicts:
        log.error(
            "%s: %d keys have different contents under one version; the greater was taken. "
            "Two drivers wrote one batch differently: keep the landing objects and report this",
            dataset.name,
            conflicts,
        )
    unchanged = floor == published.replay_floor and rows.equals(published.rows)
    seals = dict(published.seals)
    for writer, version in landed.seals.values():
        seals[writer] = max(seals.get(writer, -1), version)
    final = published.final
    # Seen in the published object before the LIST: so every fact that the seal covers was in this listing
    # or is in the published rows. A seal met in the listing itself proves nothing yet.
    if unchanged and all(writer in published.seals for writer in dataset.writers):
        newest = max(published.seals.values())
        final = newest if final is None else max(final, newest)
    candidate = replace(published, rows=rows, replay_floor=floor, seals=seals, final=final)
    # When nothing new was found, join(P, all) = P, and so join(P, l) = P for each object l.
    dominated = sorted(landed.facts if unchanged else landed.dominated)
    dominated += [
        key
        for key, (writer, version) in landed.seals.items()
        if published.final is not None
        and published.final >= version
        and published.seals.get(writer, -1) >= version
    ]
    return candidate, dominated


def _listed(store: ObjectStore, dataset: DatasetSpec, hour: datetime) -> list[str]:
    return [info.key for info in store.list_objects(landing_prefix(dataset.name, hour))]


def _delete(store: ObjectStore, keys: Sequence[str], side_by_side: SideBySide) -> int:
    side_by_side(store.delete, keys)
    return len(keys)


def _set_aside(store: ObjectStore, landed: Landed) -> int:
    early = "its generation began after this hour, so its totals may be incomplete"
    aside = sum(set_aside(store, key, "rejected/facts/", early) for key in landed.too_early)
    for key, reason in landed.unreadable.items():
        aside += set_aside(store, key, "rejected/landing/", reason)
    return aside


def _result(
    hour: datetime,
    state: HourState,
    wrote: bool = False,
    facts_read: int = 0,
    deleted: int = 0,
    aside: int = 0,
) -> HourResult:
    return HourResult(
        hour=hour,
        outcome="published" if wrote else "unchanged",
        status=state.status,
        rows=state.rows.height,
        rev=state.rev,
        facts_read=facts_read,
        objects_deleted=deleted,
        set_aside=aside,
    )
