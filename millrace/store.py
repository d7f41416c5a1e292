"""The object store: S3 with conditional PUT, and the same semantics in memory for tests.

Keys are relative to the deployment's prefix. Nothing here knows what an object means.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

from millrace.object_bodies import BodyReader

if TYPE_CHECKING:
    from millrace.settings import Settings


_UNFINISHED = re.compile(r"-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
"""s3proxy on a file system lists the temporary file of a PUT under way, as the object's key with a UUID behind
it. It is no object, and deleting it would break that PUT; no key of ours ends in a UUID."""


class StoreError(Exception):
    """Base of what a store can answer."""


class NotFound(StoreError):
    """No object has this key."""


class PreconditionFailed(StoreError):
    """The object is not (or no longer) what the condition says: another writer was first."""


class StoreUnavailable(StoreError):
    """No usable answer. For a PUT nothing is known: it may or may not have been stored."""


@dataclass(frozen=True)
class StoredObject:
    """One object as read. `server_date` and `last_modified` are by the store's clock (aware UTC)."""

    body: bytes
    etag: str
    last_modified: datetime
    server_date: datetime


@dataclass(frozen=True)
class ObjectInfo:
    """One line of a listing; `key` without the deployment's prefix, `size` in bytes.

    `etag` is empty when the server does not say it.
    """

    key: str
    size: int
    etag: str
    last_modified: datetime


class ObjectStore(Protocol):
    """What the project needs of a store; every method may raise StoreUnavailable."""

    @property
    def if_match_is_atomic(self) -> bool:
        """Whether the store decides If-Match and writes in one step (see Settings.if_match)."""
        ...

    def get(self, key: str) -> StoredObject:
        """The whole object. Raises NotFound."""
        ...

    def get_body(self, key: str) -> bytes:
        """The content alone, for reading many small objects at little cost. Raises NotFound."""
        ...

    def put(self, key: str, body: bytes, *, if_match: str | None = None, if_absent: bool = False) -> str:
        """Write one object in one PUT and return its ETag. Raises PreconditionFailed."""
        ...

    def delete(self, key: str) -> None:
        """Remove an object; one that is not there is no error."""
        ...

    def list_objects(self, prefix: str, *, after: str | None = None) -> Iterator[ObjectInfo]:
        """Every object below a prefix in key order, all pages; with `after`, only greater keys.

        Keys that end in a UUID are left out: see `_UNFINISHED`.
        """
        ...

    def list_prefixes(self, prefix: str) -> list[str]:
        """The next "directories" below a prefix, each ending in '/'."""
        ...


def open_store(settings: Settings) -> S3Store:
    """The store that the settings name. Raises SettingsError when the credentials are missing."""
    from millrace.settings import SettingsError

    if not settings.access_key or not settings.secret_key:
        raise SettingsError(
            "no S3 credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
            f"or run `millrace up`, which writes {settings.home / 'secrets.json'}"
        )
    return S3Store(settings)


class S3Store:
    """Any S3 server, through boto3. Safe to share between threads and to use after a fork."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._bucket = settings.bucket
        self._prefix = settings.prefix.strip("/") + "/" if settings.prefix.strip("/") else ""
        self._clients: dict[tuple[int, str], Any] = {}
        self._sessions: dict[int, Any] = {}
        self._bodies = BodyReader(settings)
        self._lock = threading.Lock()

    @property
    def if_match_is_atomic(self) -> bool:
        return self._settings.if_match == "atomic"

    def ensure_bucket(self) -> None:
        """Create the bucket when it is missing."""
        from botocore.exceptions import ClientError

        try:
            self._client().create_bucket(Bucket=self._bucket)
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
                raise StoreUnavailable(f"cannot create bucket {self._bucket}: {error}") from error

    def get(self, key: str) -> StoredObject:
        try:
            answer = self._client().get_object(Bucket=self._bucket, Key=self._prefix + key)
            body = answer["Body"].read()
        except Exception as error:
            raise self._translated(error, "GET", key) from error
        date = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
        return StoredObject(
            body=body,
            etag=answer["ETag"],
            last_modified=answer["LastModified"].astimezone(UTC),
            server_date=_http_date(date) if date else datetime.now(UTC),
        )

    def get_body(self, key: str) -> bytes:
        body = self._bodies.read(self._prefix + key)
        return self.get(key).body if body is None else body

    def put(self, key: str, body: bytes, *, if_match: str | None = None, if_absent: bool = False) -> str:
        conditions: dict[str, str] = {}
        if if_match is not None:
            conditions["IfMatch"] = if_match
        if if_absent:
            conditions["IfNoneMatch"] = "*"
        # A conditional PUT is sent once: a retry of one that was stored would meet its own write and
        # report a lost race, and on a store that checks first it would stretch the dangerous window.
        client = self._client("once" if conditions else "retrying")
        try:
            answer = client.put_object(Bucket=self._bucket, Key=self._prefix + key, Body=body, **conditions)
        except Exception as error:
            raise self._translated(error, "PUT", key) from error
        return str(answer["ETag"])

    def delete(self, key: str) -> None:
        try:
            self._client().delete_object(Bucket=self._bucket, Key=self._prefix + key)
        except Exception as error:
            translated = self._translated(error, "DELETE", key)
            if not isinstance(translated, NotFound):
                raise translated from error

    def list_objects(self, prefix: str, *, after: str | None = None) -> Iterator[ObjectInfo]:
        extra = {"StartAfter": self._prefix + after} if after is not None else {}
        pages = self._client().get_paginator("list_objects_v2")
        try:
            for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix + prefix, **extra):
                for item in page.get("Contents", []):
                    if _UNFINISHED.search(item["Key"]):
                        continue
                    yield ObjectInfo(
                        key=item["Key"][len(self._prefix) :],
                        size=item["Size"],
                        # Some servers leave it out for an object that is being replaced while they list.
                        etag=item.get("ETag", ""),
                        last_modified=item["LastModified"].astimezone(UTC),
                    )
        except Exception as error:
            raise self._translated(error, "LIST", prefix) from error

    def list_prefixes(self, prefix: str) -> list[str]:
        pages = self._client().get_paginator("list_objects_v2")
        try:
            return [
                item["Prefix"][len(self._prefix) :]
                for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix + prefix, Delimiter="/")
                for item in page.get("CommonPrefixes", [])
            ]
        except Exception as error:
            raise self._translated(error, "LIST", prefix) from error

    def _client(self, kind: str = "retrying") -> Any:
        key = (os.getpid(), kind)
        client = self._clients.get(key)
        if client is None:
            with self._lock:
                client = self._clients.get(key) or self._connect(kind)
                self._clients[key] = client
        return client

    def _connect(self, kind: str) -> Any:
        from botocore.config import Config

        once = {"total_max_attempts": 1, "mode": "standard"}
        retrying = {"total_max_attempts": 4, "mode": "standard"}
        return self._session().client(
            "s3",
            endpoint_url=self._settings.s3_endpoint,
            region_name=self._settings.s3_region,
            aws_access_key_id=self._settings.access_key,
            aws_secret_access_key=self._settings.secret_key,
            aws_session_token=self._settings.session_token,
            verify=str(self._settings.s3_ca) if self._settings.s3_ca is not None else None,
            config=Config(
                s3={"addressing_style": self._settings.s3_addressing},
                retries=once if kind == "once" else retrying,  # type: ignore[arg-type]
                connect_timeout=5,
                read_timeout=60,
                max_pool_connections=32,
                # Newer SDKs add trailing checksums that many S3 servers refuse.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )

    def _session(self) -> Any:
        import boto3
        import botocore.session

        found = self._sessions.get(os.getpid())
        if found is None:
            core = botocore.session.get_session()
            core.register_component("data_loader", _service_descriptions())
            core.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_timestamp)
            found = self._sessions[os.getpid()] = boto3.session.Session(botocore_session=core)
        return found

    def _translated(self, error: Exception, verb: str, key: str) -> StoreError:
        from botocore.exceptions import ClientError

        where = f"{verb} {key} in bucket {self._bucket} at {self._settings.s3_endpoint or 'AWS'}"
        if isinstance(error, ClientError):
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            code = error.response.get("Error", {}).get("Code", "")
            if status in (409, 412) or code in ("PreconditionFailed", "ConditionalRequestConflict"):
                return PreconditionFailed(where)
            if code in ("NoSuchKey", "404") or (status == 404 and code != "NoSuchBucket"):
                return NotFound(where)
        return StoreUnavailable(f"{where}: {error}")


def _http_date(text: str) -> datetime:
    from email.utils import parsedate_to_datetime

    return parsedate_to_datetime(text).astimezone(UTC)


@cache
def _service_descriptions() -> Any:
    """What botocore knows of S3, read once in a process: it is most of what a client costs (0.1 s)."""
    import botocore.loaders
    import botocore.session

    path = botocore.session.get_session().get_config_variable("data_path")
    return botocore.loaders.create_loader(path)


def _timestamp(value: str) -> datetime:
    """A time of an answer. botocore's own way of guessing its format takes half of a long listing's time."""
    from botocore.utils import parse_timestamp

    with suppress(TypeError, ValueError):
        found = datetime.fromisoformat(value)
        if found.tzinfo is not None:
            return found
    guessed: datetime = parse_timestamp(value)
    return guessed


class MemoryStore:
    """A store in memory with S3's semantics, for tests. `now` is its clock and may be moved."""

    def __init__(self, *, atomic: bool = True) -> None:
        self.objects: dict[str, tuple[bytes, datetime]] = {}
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self._atomic = atomic
        self._lock = threading.Lock()

    @property
    def if_match_is_atomic(self) -> bool:
        return self._atomic

    def get(self, key: str) -> StoredObject:
        try:
            body, modified = self.objects[key]
        except KeyError:
            raise NotFound(key) from None
        return StoredObject(body, _etag(body), modified, self.now)

    def get_body(self, key: str) -> bytes:
        return self.get(key).body

    def put(self, key: str, body: bytes, *, if_match: str | None = None, if_absent: bool = False) -> str:
        with self._lock:
            current = self.objects.get(key)
            if if_absent and current is not None:
                raise PreconditionFailed(key)
            if if_match is not None and (current is None or _etag(current[0]) != if_match):
                raise PreconditionFailed(key)
            self.objects[key] = (body, self.now)
        return _etag(body)

    def delete(self, key: str) -> None:
        self.objects.pop(key, None)

    def list_objects(self, prefix: str, *, after: str | None = None) -> Iterator[ObjectInfo]:
        for key in sorted(self.objects):
            if key.startswith(prefix) and (after is None or key > after):
                body, modified = self.objects[key]
                yield ObjectInfo(key, len(body), _etag(body), modified)

    def list_prefixes(self, prefix: str) -> list[str]:
        found = {
            prefix + key[len(prefix) :].split("/", 1)[0] + "/"
            for key in self.objects
            if key.startswith(prefix) and "/" in key[len(prefix) :]
        }
        return sorted(found)


def _etag(body: bytes) -> str:
    return '"' + hashlib.md5(body, usedforsecurity=False).hexdigest() + '"'
