"""The contents of many small objects, at a tenth of what a request costs through boto3.

Only a short cut: whatever it cannot do (a certificate that only botocore is told of, a server that is away,
an unusual key) is left to boto3, which retries, waits and names errors as everywhere else.
"""

from __future__ import annotations

import os
import threading
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from obstore.store import ClientConfig, S3Config, S3Store

    from millrace.settings import Settings

_first_used_in: int | None = None
"""The process whose threads run the requests of this module."""


class BodyReader:
    """GETs through obstore, whose requests leave Python free for other threads. Safe to share between threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client: S3Store | None = None
        self._usable = True
        self._lock = threading.Lock()

    def read(self, key: str) -> bytes | None:
        """The content, or None: ask boto3, whether there is no such object or something is wrong."""
        if not self._usable or not _is_own_process():
            return None
        import obstore
        from obstore.exceptions import BaseError

        try:
            return bytes(obstore.get(self._connected(), key).bytes())
        except FileNotFoundError:
            return None
        except (BaseError, OSError, ValueError):
            # Whatever it is, let it not be waited for twice at every object.
            self._usable = False
            return None

    def _connected(self) -> S3Store:
        with self._lock:
            if self._client is None:
                self._client = _connect(self._settings)
            return self._client


def _connect(settings: Settings) -> S3Store:
    from obstore.store import S3Store

    client: ClientConfig = {
        "allow_http": True,
        "connect_timeout": timedelta(seconds=5),
        "timeout": timedelta(seconds=60),
    }
    if settings.s3_ca is not None:
        client["root_certificate"] = settings.s3_ca.read_bytes()
    config: S3Config = {
        "region": settings.s3_region,
        "access_key_id": settings.access_key or "",
        "secret_access_key": settings.secret_key or "",
        "virtual_hosted_style_request": settings.s3_addressing == "virtual",
    }
    if settings.session_token:
        config["session_token"] = settings.session_token
    if settings.s3_endpoint:
        config["endpoint"] = _endpoint(settings)
    return S3Store(
        settings.bucket,
        config=config,
        client_options=client,
        retry_config={"max_retries": 0},
    )


def _endpoint(settings: Settings) -> str:
    """As obstore wants it: with the bucket where the bucket is part of the name."""
    assert settings.s3_endpoint is not None
    if settings.s3_addressing == "path":
        return settings.s3_endpoint
    scheme, _, rest = settings.s3_endpoint.partition("://")
    return f"{scheme}://{settings.bucket}.{rest}"


def _is_own_process() -> bool:
    """False in a fork of a process that has read so: the threads of its event loop are missing, and a request
    would wait for ever."""
    global _first_used_in
    if _first_used_in is None:
        _first_used_in = os.getpid()
    return _first_used_in == os.getpid()
