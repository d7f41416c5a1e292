"""Carrying state from micro-batch to micro-batch: packs, create-only manifests, pruning.

Per bucket and batch a *pack* holds the state's bytes, under a name made of its content. A batch's
*manifest* names the pack of every bucket and is created once: it is the commit of the batch's state, so
of two drivers that both believe to own a batch only one can make it so. Batch b reads only the manifest
of b - 1. Knows nothing of what a state means.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from millrace.store import NotFound, ObjectStore, PreconditionFailed
from spark_apps.runtime.errors import BadConfiguration

MANIFEST_SCHEMA = 1
KEPT_MANIFESTS = 5
"""Spark may run the last planned batch again after a crash; the others are for a person who looks."""
ORPHAN_AFTER = timedelta(hours=1)
"""A pack that no manifest names may belong to a batch that is being written right now."""

MOVE_IT_AWAY = "move it away, and reset the stream to count the open hours anew"


class StateConflict(Exception):
    """Another driver committed this batch with another content: this one must not go on."""


class ManifestError(BadConfiguration, ValueError):
    """A manifest is damaged or was written by a newer version; the message says what to do."""


class PackRef(BaseModel):
    """One bucket's state."""

    model_config = ConfigDict(frozen=True)
    key: str
    sha256: str
    size: int


class Manifest(BaseModel):
    """What a committed batch left behind. `totals` count since the generation's first batch."""

    model_config = ConfigDict(frozen=True)
    schema_: int = Field(default=MANIFEST_SCHEMA, alias="schema")
    stream: str
    generation: int
    batch: int
    buckets: int
    packs: dict[int, PackRef] = Field(default_factory=dict)
    offsets: dict[str, int] = Field(default_factory=dict)
    """Partition to the next offset to read."""
    clocks: dict[str, tuple[int | None, int, bool]] = Field(default_factory=dict)
    """Source to (newest_at, heard_at, ended); see clock.SourceClock."""
    open_hours: list[int] = Field(default_factory=list)
    sealed_before: int | None = None
    totals: dict[str, int] = Field(default_factory=dict)

    def body(self) -> bytes:
        return self.model_dump_json(by_alias=True).encode()


class CarriedState:
    """The state of one generation of one stream in the object store."""

    def __init__(self, store: ObjectStore, stream: str, generation: int) -> None:
        self._store = store
        self._stream = stream
        self._prefix = f"{state_prefix(stream)}g{generation:05d}/"
        self._recent: dict[int, Manifest] = {}

    def manifest(self, batch: int) -> Manifest | None:
        """The manifest of a batch, or None when it was not committed. Raises ManifestError."""
        if batch not in self._recent:
            try:
                self._recent[batch] = read_manifest(self._store, self._manifest_key(batch))
            except NotFound:
                return None
        return self._recent[batch]

    def commit(self, manifest: Manifest) -> None:
        """Make a batch's state the state. Raises StateConflict when another content stands there."""
        key = self._manifest_key(manifest.batch)
        try:
            self._store.put(key, manifest.body(), if_absent=True)
        except PreconditionFailed:
            if self._store.get(key).body != manifest.body():
                raise StateConflict(
                    f"{key} was committed by another driver with another content; this driver stops"
                ) from None
        self._recent[manifest.batch] = manifest
        self._forget(manifest.batch - KEPT_MANIFESTS)

    def sweep(self, last_batch: int) -> int:
        """Remove what earlier crashes left: old packs that no kept manifest names, and old manifests."""
        listed = list(self._store.list_objects(self._prefix))
        kept = [
            self.manifest(batch) for batch in range(max(0, last_batch - KEPT_MANIFESTS + 1), last_batch + 1)
        ]
        named = {pack.key for manifest in kept if manifest for pack in manifest.packs.values()}
        oldest = self._manifest_key(max(0, last_batch - KEPT_MANIFESTS + 1))
        limit = max((info.last_modified for info in listed), default=datetime.now(UTC)) - ORPHAN_AFTER
        removed = 0
        for info in listed:
            is_manifest = "/manifest-" in info.key
            if (is_manifest and info.key < oldest) or (
                not is_manifest and info.key not in named and info.last_modified < limit
            ):
                self._store.delete(info.key)
                removed += 1
        return removed

    def _forget(self, batch: int) -> None:
        """Remove a manifest that no restart can need, and the packs that only it names."""
        old = self._recent.pop(batch, None)
        if old is None:
            return
        named = {pack.key for manifest in self._recent.values() for pack in manifest.packs.values()}
        for pack in old.packs.values():
            if pack.key not in named and pack.key.startswith(self._prefix):
                self._store.delete(pack.key)
        self._store.delete(self._manifest_key(batch))

    def _manifest_key(self, batch: int) -> str:
        return f"{self._prefix}manifest-{batch:010d}.json"


def state_prefix(stream: str) -> str:
    """Where the state of all generations of a stream lies."""
    return f"state/{stream}/"


def read_manifest(store: ObjectStore, key: str) -> Manifest:
    """One manifest. Raises NotFound, and ManifestError for one of a newer version or none at all."""
    body = store.get(key).body
    try:
        content = json.loads(body)
    except ValueError as error:
        raise ManifestError(f"{key} is no manifest: {error}; {MOVE_IT_AWAY}") from None
    return manifest_of(content, key)


def manifest_of(content: Any, where: str) -> Manifest:
    """A manifest from its JSON. Raises ManifestError, of a newer version before what that has changed is met."""
    schema = content.get("schema") if isinstance(content, dict) else None
    if isinstance(schema, int) and schema > MANIFEST_SCHEMA:
        raise ManifestError(
            f"{where} was written with schema {schema}, this version reads up to {MANIFEST_SCHEMA}: "
            "run the newer version"
        )
    try:
        return Manifest.model_validate(content)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise ManifestError(f"{where} is no manifest: {wrong}; {MOVE_IT_AWAY}") from None


def newest_manifest(store: ObjectStore, stream: str) -> Manifest | None:
    """The last committed batch of the newest generation that committed any."""
    listed = (info.key for info in store.list_objects(state_prefix(stream)))
    keys = [key for key in listed if "/manifest-" in key and key.endswith(".json")]
    return read_manifest(store, max(keys)) if keys else None


def pack_hash(body: bytes) -> str:
    """What a manifest knows one bucket's state by: SHA-256, in hexadecimal."""
    return hashlib.sha256(body).hexdigest()


def put_pack(
    store: ObjectStore, stream: str, generation: int, batch: int, bucket: int, body: bytes
) -> PackRef:
    """Write one bucket's state. The name holds the content's hash: a retry writes the same object."""
    digest = pack_hash(body)
    key = f"{state_prefix(stream)}g{generation:05d}/pack-{batch:010d}-{bucket:05d}-{digest[:16]}"
    store.put(key, body)
    return PackRef(key=key, sha256=digest, size=len(body))


def get_pack(store: ObjectStore, ref: PackRef) -> bytes:
    """Read one bucket's state. Raises ManifestError when its content is not what the manifest says."""
    body = store.get(ref.key).body
    if pack_hash(body) != ref.sha256:
        raise ManifestError(f"{ref.key} is not the state that its manifest names (its hash differs)")
    return body
