"""Quarantine: an hour's content that failed a critical expectation, and what people decided about it.

`quarantine/<dataset>/<hour>/<digest>/` holds, per content that was refused, the failing rows (one Parquet
object per expectation) and `entry.json`, written last. The content itself is still in landing: quarantine
explains, it does not hold anything back. `approvals/<dataset>/<hour>/<digest>.json` lets exactly that
content pass; a rejection is kept beside the entry.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from millrace.publish.codec import FormatError, decode_hour
from millrace.publish.layout import landing_prefix, published_key, whole_hour
from millrace.store import NotFound, ObjectStore

if TYPE_CHECKING:
    import polars as pl

    from millrace.catalog import DatasetSpec

SAMPLE = 20
"""Failing rows that are shown to a person; all of them are in the Parquet object."""


class _Object(BaseModel):
    model_config = ConfigDict(frozen=True)


class FailedExpectation(_Object):
    """One expectation that failed: its words, and the rows that failed it."""

    name: str
    says: str
    severity: Literal["critical", "warning"]
    observed: str
    rows: int
    """How many rows failed; 0 when the expectation is about the whole hour."""
    object: str | None = None
    """The key of the Parquet object that has all of them."""
    sample: list[dict[str, Any]] = Field(default_factory=list)


class Entry(_Object):
    """Why one content of one hour was refused."""

    dataset: str
    hour: datetime
    digest: str
    """sha256 of the content; an approval names it."""
    suite: str
    run: str
    at: datetime
    reason: str
    failed: list[FailedExpectation]


class Decision(_Object):
    """What a person decided about exactly one content."""

    decision: Literal["approved", "rejected"]
    dataset: str
    hour: datetime
    digest: str
    who: str
    at: datetime
    why: str = Field(min_length=1)


def quarantine_prefix(dataset: str, hour: datetime | None = None, digest: str | None = None) -> str:
    """Where the entries of a dataset, of an hour, or of one content lie."""
    prefix = f"quarantine/{dataset}/"
    if hour is not None:
        prefix += f"{whole_hour(hour):%Y-%m-%dT%H}/"
        if digest is not None:
            prefix += f"{digest}/"
    return prefix


def approval_key(dataset: str, hour: datetime, digest: str) -> str:
    """The object whose being there lets exactly this content pass."""
    return f"approvals/{dataset}/{whole_hour(hour):%Y-%m-%dT%H}/{digest}.json"


def rejection_key(dataset: str, hour: datetime, digest: str) -> str:
    return quarantine_prefix(dataset, hour, digest) + "rejected.json"


def entry_key(dataset: str, hour: datetime, digest: str) -> str:
    return quarantine_prefix(dataset, hour, digest) + "entry.json"


def put_failing_rows(store: ObjectStore, prefix: str, name: str, rows: pl.DataFrame) -> str:
    """Keep the rows that failed an expectation; returns the key."""
    body = io.BytesIO()
    rows.write_parquet(body)
    key = f"{prefix}{name}.parquet"
    store.put(key, body.getvalue())
    return key


def put_entry(store: ObjectStore, entry: Entry) -> None:
    """Keep an entry. The same content refused again replaces it, so that `at` is the last time."""
    store.put(entry_key(entry.dataset, entry.hour, entry.digest), entry.model_dump_json(indent=1).encode())


def put_decision(store: ObjectStore, decision: Decision) -> str:
    """Keep a decision; returns the key. A later decision about the same content replaces an earlier one."""
    where = (decision.dataset, decision.hour, decision.digest)
    keys = {"approved": approval_key(*where), "rejected": rejection_key(*where)}
    key = keys.pop(decision.decision)
    for other in keys.values():
        store.delete(other)
    store.put(key, decision.model_dump_json(indent=1).encode())
    return key


def read_decision(store: ObjectStore, dataset: str, hour: datetime, digest: str) -> Decision | None:
    """What was decided about this content, if anything."""
    for key in (approval_key(dataset, hour, digest), rejection_key(dataset, hour, digest)):
        try:
            decision = Decision.model_validate_json(store.get(key).body)
        except NotFound:
            continue
        # A copy under another hour or content approves nothing.
        if (decision.dataset, decision.hour, decision.digest) == (dataset, whole_hour(hour), digest):
            return decision
    return None


def entries(store: ObjectStore, dataset: str) -> Iterable[Entry]:
    """Every entry of a dataset, old ones too, by hour."""
    for info in store.list_objects(quarantine_prefix(dataset)):
        if info.key.endswith("/entry.json"):
            yield Entry.model_validate_json(store.get(info.key).body)


def waiting_entries(store: ObjectStore, dataset: DatasetSpec) -> list[Entry]:
    """The newest entry of each hour that still waits for a decision, a newer fact or a changed suite."""
    newest: dict[datetime, Entry] = {}
    for entry in entries(store, dataset.name):
        if entry.hour not in newest or entry.at > newest[entry.hour].at:
            newest[entry.hour] = entry
    return [entry for entry in newest.values() if _waits(store, dataset, entry)]


def _waits(store: ObjectStore, dataset: DatasetSpec, entry: Entry) -> bool:
    if read_decision(store, entry.dataset, entry.hour, entry.digest) is not None:
        return False
    if next(iter(store.list_objects(landing_prefix(dataset.name, entry.hour))), None) is None:
        return False  # somebody moved the facts aside
    key = published_key(dataset.prefix, entry.hour)
    try:
        quality = decode_hour(store.get(key).body, dataset, key).quality
    except (NotFound, FormatError):
        return True
    passed_at = quality.get("at") if quality else None
    return passed_at is None or datetime.fromisoformat(passed_at) <= entry.at
