"""The object store: what may be done in it, whose clock it goes by, and whether conditions are kept."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

from millrace.doctor import clock, race
from millrace.doctor.finding import Finding, error, fine, warning
from millrace.store import NotFound, ObjectStore, PreconditionFailed, StoreError

PART = "Store"
_HTTP_DATE = timedelta(seconds=1)


def look_at_store(store: ObjectStore, *, rounds: int) -> Iterator[Finding]:
    """Writes below `doctor/` in the deployment's prefix, and deletes it again.

    `rounds`: of each race. A store that ignores conditions loses published hours, so it is an error.
    """
    prefix = f"doctor/{secrets.token_hex(8)}/"
    try:
        yield from _permissions(store, f"{prefix}probe")
        if (ignored := _ignored_conditions(store, prefix)) is not None:
            yield ignored
            return
        yield _creating(race.race_to_create(store, prefix, rounds))
        yield _replacing(race.race_to_replace(store, prefix, rounds), store.if_match_is_atomic)
    except StoreError as problem:
        yield error(PART, f"{problem}", what_to_do(str(problem)))


def _permissions(store: ObjectStore, key: str) -> Iterator[Finding]:
    body = b"written by millrace doctor"
    store.put(key, body)
    before = datetime.now(UTC)
    found = store.get(key)
    after = datetime.now(UTC)
    if found.body != body:
        yield error(PART, f"GET {key} gives other bytes than were PUT", "do not use this store")
    if key not in [info.key for info in store.list_objects(key)]:
        yield error(
            PART,
            f"{key} was just PUT and is not in a LIST",
            "Millrace needs a store whose listings are consistent, as Amazon's are since 2020; use another one",
        )
    store.delete(key)
    try:
        store.get(key)
    except NotFound:
        yield fine(PART, "PUT, GET, LIST and DELETE are allowed below the prefix")
    else:
        yield error(
            PART,
            f"{key} is still there after its DELETE",
            "switch versioning or object lock off for this bucket, or let the keys delete",
        )
    yield clock.judge(PART, "the store's", clock.skew(before, found.server_date, after, _HTTP_DATE))


def _ignored_conditions(store: ObjectStore, prefix: str) -> Finding | None:
    """A store that does not know conditions takes every PUT, without any race."""
    key = f"{prefix}conditions"
    old = store.put(key, b"first", if_absent=True)
    try:
        ignored = [
            name
            for name, put in {
                "If-None-Match: *": lambda: store.put(key, b"second", if_absent=True),
                "If-Match": lambda: (store.put(key, b"third"), store.put(key, b"fourth", if_match=old)),
            }.items()
            if not _is_refused(put)
        ]
    finally:
        store.delete(key)
    if not ignored:
        return None
    return error(
        PART,
        f"the server ignores {' and '.join(ignored)}: it overwrites what it should refuse to",
        "two writers would silently overwrite each other's hours, so do not use this server; Amazon S3, MinIO, "
        "versitygw and the embedded s3proxy keep conditions (`rclone serve s3` does not)",
    )


def _is_refused(put: Callable[[], object]) -> bool:
    try:
        put()
    except PreconditionFailed:
        return True
    return False


def _creating(found: race.Race) -> Finding:
    if found.several_winners:
        return error(
            PART,
            f"creating under a race: in {found.several_winners} of {found.rounds} rounds several writers won",
            "two drivers could commit the same micro-batch; do not use this server",
        )
    return _unclear("creating", found) or fine(
        PART, f"creating under a race: one winner in {found.one_winner} of {found.rounds} rounds"
    )


def _replacing(found: race.Race, is_atomic: bool) -> Finding:
    says = f"replacing under a race: several winners in {found.several_winners} of {found.rounds} rounds"
    if found.several_winners and is_atomic:
        return error(
            PART,
            f"{says}, but MILLRACE_S3_IF_MATCH=atomic",
            "set MILLRACE_S3_IF_MATCH=checked, and keep Airflow's pool `publish` at one slot",
        )
    if found.several_winners:
        return warning(
            PART,
            f"{says}: the server checks If-Match first and writes later",
            "it does no harm while whatever publishes goes through Airflow's pool `publish` of one slot: keep it so, "
            "and do not run `compact_hourly` of two Airflows on one store",
        )
    return _unclear("replacing", found) or fine(
        PART, f"replacing under a race: one winner in {found.one_winner} of {found.rounds} rounds"
    )


def _unclear(what: str, found: race.Race) -> Finding | None:
    if found.unclear:
        return warning(
            PART,
            f"{what} under a race: {found.unclear} of {found.rounds} rounds ended without an answer",
            "look at the server's log: it should answer a lost race with 412, not with an error",
        )
    if found.no_winner:
        return warning(
            PART,
            f"{what} under a race: nobody won {found.no_winner} of {found.rounds} rounds",
            "no harm, it is tried again; but it slows publishing down when it happens often",
        )
    return None


def what_to_do(problem: str) -> str:
    """What to do about an answer of the store, by the words that S3 servers and botocore use."""
    hints = {
        "NoSuchBucket": "create the bucket, or name another one with MILLRACE_BUCKET",
        "InvalidAccessKeyId": "AWS_ACCESS_KEY_ID is not known there: is MILLRACE_S3_ENDPOINT the right server?",
        "SignatureDoesNotMatch": "AWS_SECRET_ACCESS_KEY does not belong to AWS_ACCESS_KEY_ID (or "
        "MILLRACE_S3_REGION is not the bucket's)",
        "ExpiredToken": "the temporary keys have expired: get new ones, with their AWS_SESSION_TOKEN",
        "InvalidToken": "AWS_SESSION_TOKEN does not belong to the keys: set all three from the same source",
        "RequestTimeTooSkewed": "the clock here is more than 15 minutes off: let it keep time by NTP",
        "AccessDenied": "allow s3:ListBucket on the bucket, and s3:GetObject, s3:PutObject, s3:DeleteObject below "
        "the prefix",
        "(403)": "allow s3:ListBucket on the bucket, and s3:GetObject, s3:PutObject, s3:DeleteObject below the prefix",
        "CERTIFICATE_VERIFY_FAILED": "name the authority that signed its certificate (a PEM file) with "
        "MILLRACE_S3_CA; the name in MILLRACE_S3_ENDPOINT must be one that the certificate has",
        "SSL": "does the server speak TLS? MILLRACE_S3_ENDPOINT begins with https:// if so, else with http://",
        "Could not connect": "is the server up, and MILLRACE_S3_ENDPOINT right? For the embedded stack: `millrace "
        "status`, `millrace up`",
    }
    return next((do for word, do in hints.items() if word in problem), "see the log of the server")
