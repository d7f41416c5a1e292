"""A store that can be read and refuses to be written to: for what must leave no trace."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NoReturn

from millrace.store import ObjectInfo, ObjectStore, StoredObject


class ReadOnly:
    """Reads go through; a write is a mistake in this program, not of the one who runs it."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    @property
    def if_match_is_atomic(self) -> bool:
        return self._store.if_match_is_atomic

    def get(self, key: str) -> StoredObject:
        return self._store.get(key)

    def get_body(self, key: str) -> bytes:
        return self._store.get_body(key)

    def list_objects(self, prefix: str, *, after: str | None = None) -> Iterator[ObjectInfo]:
        return self._store.list_objects(prefix, after=after)

    def list_prefixes(self, prefix: str) -> list[str]:
        return self._store.list_prefixes(prefix)

    def put(
        self,
        key: str,
        body: bytes,  # noqa: ARG002
        *,
        if_match: str | None = None,  # noqa: ARG002
        if_absent: bool = False,  # noqa: ARG002
    ) -> NoReturn:
        raise AssertionError(f"this store is only read from, and was asked to PUT {key}")

    def delete(self, key: str) -> NoReturn:
        raise AssertionError(f"this store is only read from, and was asked to DELETE {key}")
