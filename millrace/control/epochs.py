"""Driver epochs: one number per life of a driver process, handed out by the store (fencing).

A driver begins by creating `control/<stream>/epochs/<n>.json` with n = highest + 1 and the condition
that it does not exist, so each number has one owner; a driver that sees a greater one ends itself. The
objects are never pruned: a reused number would let a driver that slept for a week pass for the newest.
"""

from __future__ import annotations

import os
import socket
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from millrace.control.layout import (
    ControlObject,
    UtcDatetime,
    epoch_key,
    epochs_prefix,
    number_of,
    parse,
)
from millrace.store import NotFound, ObjectStore, PreconditionFailed, StoreUnavailable

CLAIM_ATTEMPTS = 20
"""A race is lost only to another claim, so twenty losses in a row mean a crowd of drivers, not bad luck."""


class EpochClaim(ControlObject):
    """Who holds a driver epoch."""

    driver_epoch: int
    host: str
    pid: int
    nonce: str
    """Tells one's own claim from another's after a PUT without an answer."""
    spec_revision: int
    at: UtcDatetime


@dataclass(frozen=True)
class EpochObservation:
    """A claim with its age by the store's clock."""

    claim: EpochClaim
    age: timedelta


def claim_epoch(
    store: ObjectStore,
    stream: str,
    *,
    spec_revision: int,
    host: str | None = None,
    pid: int | None = None,
    now: datetime | None = None,
) -> int:
    """Take the next driver epoch of a stream and return its number (the first is 1).

    Host and pid are this process's unless given. Raises StoreUnavailable when the store gives no usable
    answer, also to the question whether the claim was stored; then a number may have been used up, which
    does no harm.
    """
    nonce = uuid.uuid4().hex
    newest = 0
    for _ in range(CLAIM_ATTEMPTS):
        newest = newest_epoch(store, stream, known=newest)
        claim = EpochClaim(
            driver_epoch=newest + 1,
            host=host or socket.gethostname(),
            pid=os.getpid() if pid is None else pid,
            nonce=nonce,
            spec_revision=spec_revision,
            at=now or datetime.now(UTC),
        )
        key = epoch_key(stream, claim.driver_epoch)
        try:
            store.put(key, claim.to_body(), if_absent=True)
        except PreconditionFailed:
            # A client below us may have repeated a PUT that was stored: then the claim found is our own.
            if _nonce_of(store, key) == nonce:
                return claim.driver_epoch
            continue
        except StoreUnavailable:
            if _nonce_of(store, key) != nonce:
                raise
        return claim.driver_epoch
    raise StoreUnavailable(
        f"{CLAIM_ATTEMPTS} drivers in a row took the next epoch of {stream!r} first: something starts "
        f"drivers of this stream again and again; look at {epochs_prefix(stream)}"
    )


def newest_epoch(store: ObjectStore, stream: str, *, known: int = 0) -> int:
    """The greatest driver epoch claimed so far, 0 when there is none.

    `known` is one that exists for certain: only greater ones are listed, so that a driver's check does
    not grow with the number of lives before it.
    """
    after = epoch_key(stream, known) if known else None
    numbers = (number_of(found.key) for found in store.list_objects(epochs_prefix(stream), after=after))
    return max((number for number in numbers if number is not None), default=known)


def observe_epoch(store: ObjectStore, stream: str, driver_epoch: int) -> EpochObservation | None:
    """The claim of an epoch, or None when there is none."""
    key = epoch_key(stream, driver_epoch)
    try:
        found = store.get(key)
    except NotFound:
        return None
    return EpochObservation(parse(EpochClaim, found.body, key), found.server_date - found.last_modified)


def _nonce_of(store: ObjectStore, key: str) -> str | None:
    try:
        return parse(EpochClaim, store.get(key).body, key).nonce
    except NotFound:
        return None
