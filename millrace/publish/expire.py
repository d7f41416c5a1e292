"""Retention of published hours: an hour expires to an object without rows, and at last behind a horizon.

An expired hour is never simply deleted: a landing object that arrives late, or a publisher that slept,
would bring back a part of it. The empty object absorbs them. It may go only once the dataset's
`retention_horizon` has passed its hour, because folds and readers refuse whatever lies before that.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from pydantic import AwareDatetime, BaseModel, ConfigDict

from millrace.publish.codec import decode_hour, empty_hour, encode_hour
from millrace.publish.layout import horizon_key, published_key, whole_hour
from millrace.store import NotFound, ObjectStore, PreconditionFailed, StoreUnavailable

if TYPE_CHECKING:
    from millrace.catalog import DatasetSpec

ATTEMPTS = 8


class HourExpired(Exception):
    """The hour lies before its dataset's retention horizon: it is gone for good."""


class Horizon(BaseModel):
    """What `retention/<dataset>/horizon.json` holds."""

    model_config = ConfigDict(frozen=True)
    retention_horizon: AwareDatetime
    """The first hour (UTC) that is still kept."""


def expire_hour(
    store: ObjectStore,
    dataset: DatasetSpec,
    hour: datetime,
    *,
    pause: Callable[[float], None] = time.sleep,
) -> bool:
    """Replace a published hour by one without rows; False when it already was expired.

    An hour that was never published gets the empty object too, so that what lands for it late is absorbed.
    On a store that checks If-Match first and writes later, a fold of the same moment may still win against
    it: call it again for the same hour in a later run, before the horizon passes it, until it says False.
    Raises StoreUnavailable when the store did not confirm it; nothing is half done, call it again.
    """
    hour = whole_hour(hour)
    key = published_key(dataset.prefix, hour)
    problem: Exception | None = None
    for attempt in range(ATTEMPTS):
        if attempt:
            pause(random.uniform(0.05, 0.2) * 2 ** min(attempt, 5))
        try:
            try:
                found = store.get(key)
                published, etag = decode_hour(found.body, dataset, key), found.etag
            except NotFound:
                published, etag = empty_hour(dataset), None
            if published.expired:
                # After an unconfirmed PUT of our own it was probably we who did it; a caller only counts.
                return problem is not None
            expired = replace(
                published, rows=published.rows.clear(), rev=published.rev + 1, expired=True, quality=None
            )
            store.put(key, encode_hour(expired, dataset), if_match=etag, if_absent=etag is None)
        except (PreconditionFailed, NotFound, StoreUnavailable) as error:
            problem = error
            continue
        return True
    raise StoreUnavailable(f"{key} could not be expired in {ATTEMPTS} attempts; the last: {problem}")


def read_horizon(store: ObjectStore, dataset: DatasetSpec) -> datetime | None:
    """The first hour (aware UTC) that is still kept, or None when nothing was ever given up."""
    try:
        body = store.get(horizon_key(dataset.name)).body
    except NotFound:
        return None
    return Horizon.model_validate_json(body).retention_horizon


def advance_horizon(
    store: ObjectStore,
    dataset: DatasetSpec,
    hour: datetime,
    *,
    pause: Callable[[float], None] = time.sleep,
) -> datetime:
    """Give up every hour before this one, and return the horizon: it never moves back.

    Expire those hours first, and delete their empty objects only after this. Raises StoreUnavailable.
    """
    wanted = whole_hour(hour)
    key = horizon_key(dataset.name)
    problem: Exception | None = None
    for attempt in range(ATTEMPTS):
        if attempt:
            pause(random.uniform(0.05, 0.2) * 2 ** min(attempt, 5))
        try:
            etag: str | None = None
            try:
                found = store.get(key)
                current = Horizon.model_validate_json(found.body).retention_horizon
                if current >= wanted:
                    return current
                etag = found.etag
            except NotFound:
                pass
            body = Horizon(retention_horizon=wanted).model_dump_json().encode()
            store.put(key, body, if_match=etag, if_absent=etag is None)
        except (PreconditionFailed, NotFound, StoreUnavailable) as error:
            problem = error
            continue
        return wanted
    raise StoreUnavailable(f"{key} could not be advanced in {ATTEMPTS} attempts; the last: {problem}")


def refuse_expired(horizon: datetime | None, dataset: DatasetSpec, hour: datetime) -> None:
    """Raises HourExpired for an hour before the horizon; for readers."""
    if horizon is not None and hour < horizon:
        raise HourExpired(
            f"{dataset.name} {hour:%Y-%m-%d %H}h UTC is gone for good: retention keeps hours from "
            f"{horizon:%Y-%m-%d %H}h UTC on"
        )
