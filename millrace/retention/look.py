"""Looking into the store for what retention is about. Only reads."""

from __future__ import annotations

import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from millrace.catalog import DatasetSpec, StreamSpec
from millrace.control.layout import number_of, orders_prefix, status_prefix
from millrace.control.supervised import SupervisedFeed
from millrace.publish.codec import FormatError
from millrace.publish.expire import Horizon
from millrace.publish.layout import (
    LayoutError,
    generation_key,
    horizon_key,
    landing_prefix,
    parse_landing_key,
    published_hour,
)
from millrace.read.status import is_expired
from millrace.retention.found import DatasetFound, LandingFound, PublishedFound, StateFound, StreamFound
from millrace.retention.plan import first_kept
from millrace.store import NotFound, ObjectInfo, ObjectStore

READERS = 16
_GENERATION = re.compile(r"g(\d{5})/")


def store_time(store: ObjectStore) -> datetime | None:
    """What the store's own clock says (aware UTC), off the answer to one GET; None: the store is empty.

    What is old is judged by when the store says it was written, so a wrong clock here must not matter.
    """
    for prefix in ("control/", "generations/", ""):
        for info in store.list_objects(prefix):
            try:
                return store.get(info.key).server_date
            except NotFound:
                continue
    return None


def look_at_dataset(
    store: ObjectStore, dataset: DatasetSpec, now: datetime
) -> tuple[DatasetFound, list[str]]:
    """What there is of a dataset, and what could not be read (one line each, for a person)."""
    found = DatasetFound(dataset)
    try:
        stored = store.get(horizon_key(dataset.name))
        horizon = Horizon.model_validate_json(stored.body).retention_horizon.astimezone(UTC)
        found = DatasetFound(dataset, horizon, stored.last_modified)
    except NotFound:
        pass
    limit = max(filter(None, [first_kept(found, now), found.horizon]), default=None)
    landing = tuple(_landing(store, dataset.name))
    published, unreadable = _published(store, dataset, limit, {one.hour for one in landing})
    return DatasetFound(
        dataset,
        found.horizon,
        found.horizon_set_at,
        published,
        tuple(unreadable),
        landing,
        tuple(store.list_objects(f"quarantine/{dataset.name}/")),
        tuple(_set_aside(store, dataset.name)),
        tuple(_quality(store, dataset.name)),
        tuple(store.list_objects(f"approvals/{dataset.name}/")),
    ), [f"{error}; left as it is" for error in unreadable.values()]


def look_at_stream(store: ObjectStore, stream: StreamSpec) -> StreamFound:
    """What there is of a stream. Raises ManifestError for a manifest of a newer version."""
    from spark_apps.runtime.carried_state import read_manifest, state_prefix

    prefix = state_prefix(stream.name)
    state = []
    for info in store.list_objects(prefix):
        match = _GENERATION.match(info.key.removeprefix(prefix))
        if match is not None:
            state.append(StateFound(int(match[1]), info))
    manifests = [one for one in state if "/manifest-" in one.info.key]
    present = max((one.generation for one in manifests), default=None)
    needed: set[str] = set()
    for one in manifests:
        if one.generation == present:
            try:
                needed.update(pack.key for pack in read_manifest(store, one.info.key).packs.values())
            except NotFound:  # its driver goes on and forgets old ones; what they name is in later ones too
                continue
    since = None
    if present is not None:
        claims = store.list_objects(generation_key(stream.lineage, present))
        since = next((claim.last_modified for claim in claims), None)
    return StreamFound(
        stream,
        tuple(state),
        present,
        since,
        frozenset(needed),
        _numbered(store, status_prefix(stream.name)),
        tuple(store.list_objects(f"rejected/{stream.name}/")),
        _numbered(store, orders_prefix(stream.name)),
    )


def look_at_feed(store: ObjectStore, feed: SupervisedFeed) -> StreamFound:
    """What there is of a feed: what its lives said, and what was ordered."""
    return StreamFound(
        feed,
        statuses=_numbered(store, status_prefix(feed.name)),
        orders=_numbered(store, orders_prefix(feed.name)),
    )


def _numbered(store: ObjectStore, prefix: str) -> tuple[tuple[int, ObjectInfo], ...]:
    found = [(number_of(info.key), info) for info in store.list_objects(prefix)]
    return tuple((number, info) for number, info in found if number is not None)


def _landing(store: ObjectStore, dataset: str) -> Iterable[LandingFound]:
    for info in store.list_objects(landing_prefix(dataset)):
        try:
            yield LandingFound(parse_landing_key(info.key).hour, info)
        except LayoutError:
            continue  # nobody here wrote it, so nobody here deletes it


def _set_aside(store: ObjectStore, dataset: str) -> Iterable[ObjectInfo]:
    """What folds have moved out of landing: `rejected/<why>/<dataset>/...`."""
    for folder in store.list_prefixes("rejected/"):
        yield from store.list_objects(f"{folder}{dataset}/")


def _quality(store: ObjectStore, dataset: str) -> Iterable[ObjectInfo]:
    """Results of audits, summaries of days and Data Docs."""
    for prefix in ("quality/", "quality/daily/", "quality/docs/"):
        yield from store.list_objects(f"{prefix}{dataset}/")


def _published(
    store: ObjectStore, dataset: DatasetSpec, limit: datetime | None, landed: set[datetime]
) -> tuple[tuple[PublishedFound, ...], dict[datetime, FormatError]]:
    """The published hours before `limit` and those for which something has landed; and the unreadable ones."""
    wanted: list[tuple[datetime, ObjectInfo]] = []
    for info in store.list_objects(f"{dataset.prefix}/") if limit is not None else ():
        try:
            hour = published_hour(dataset.prefix, info.key)
        except LayoutError:
            continue
        if limit is not None and (hour < limit or hour in landed):
            wanted.append((hour, info))

    def read(one: tuple[datetime, ObjectInfo]) -> PublishedFound | FormatError | None:
        hour, info = one
        try:
            return PublishedFound(hour, info, is_expired(store.get(info.key).body, info.key))
        except NotFound:
            return None
        except FormatError as error:
            return error

    with ThreadPoolExecutor(max_workers=READERS) as pool:
        answers = list(zip((hour for hour, _ in wanted), pool.map(read, wanted), strict=True))
    return (
        tuple(one for _, one in answers if isinstance(one, PublishedFound)),
        {hour: error for hour, error in answers if isinstance(error, FormatError)},
    )
