"""Fetching over HTTP as a good guest: conditional requests, Retry-After, exponential back-off with jitter."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import httpx
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    stop_after_attempt,
    stop_before_delay,
    stop_never,
    wait_random_exponential,
)

from millrace import __version__
from millrace.feeds.model import Rejection
from millrace.feeds.secrets import redact, redact_bytes
from millrace.feeds.source_watch import SourceWatch

log = logging.getLogger(__name__)

MAX_BODY = 32 * 1024 * 1024
"""Bytes. The greatest real station_status is about 2 MB; more than this is not one."""
KEPT_OF_TOO_LARGE = 1_000_000
MAX_RETRY_AFTER = 3600.0
WHOLE_ANSWER_WITHIN = 120.0
"""Seconds, from its head on. The client's own limits are for each piece; a byte now and then never exceeds them."""
_RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Reply:
    """A usable answer; `body` is None when the source says that nothing has changed."""

    body: bytes | None


class FetchFailed(Exception):
    """No usable answer. Says why without the URL; `rejection` holds the body when there was one."""

    def __init__(self, detail: str, rejection: Rejection | None = None, status: int | None = None) -> None:
        super().__init__(detail)
        self.rejection = rejection
        self.status = status


class Transient(FetchFailed):
    """Worth another try; not before `retry_after` seconds, when the source said so."""

    def __init__(
        self,
        detail: str,
        rejection: Rejection | None = None,
        status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(detail, rejection, status)
        self.retry_after = retry_after


@dataclass(frozen=True)
class Backoff:
    """How long to wait after the n-th failure in a row: a random time up to `first` x 2^(n-1) seconds, never
    more than `longest`, never less than the source's Retry-After. `attempts` None is without end."""

    first: float = 2.0
    longest: float = 300.0
    attempts: int | None = None


def new_client() -> httpx.AsyncClient:
    """A client for many sources at once. Waiting for a free connection has no limit of its own: with hundreds of
    systems in one process the first round would time out on its own queue."""
    return httpx.AsyncClient(
        follow_redirects=True,
        timeout=httpx.Timeout(20.0, connect=10.0, pool=None),
        headers={"User-Agent": f"millrace/{__version__}", "Accept": "application/json"},
    )


class Fetcher:
    """GET with memory: sends a URL's last ETag and Last-Modified, and tries again what is worth it."""

    def __init__(self, client: httpx.AsyncClient, backoff: Backoff, watch: SourceWatch | None = None) -> None:
        self._client = client
        self._watch = watch or SourceWatch()
        self._backoff = backoff
        self._validators: dict[str, dict[str, str]] = {}

    async def get(
        self,
        url: str,
        *,
        on_failure: Callable[[Transient, float], None],
        source: str = "",
        within: float | None = None,
    ) -> Reply:
        """The body, or that nothing changed. `on_failure(error, seconds until the next try)` is told of every
        failure that is tried again; `source` tells one of several that a feed asks from the others. Raises FetchFailed
        for failures that are not tried again, also because the next try would be later than `within` seconds after the
        first."""
        attempts = self._backoff.attempts
        stop = stop_after_attempt(attempts) if attempts else stop_never
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type(Transient),
            wait=self._wait,
            stop=stop if within is None else stop | stop_before_delay(within),
            before_sleep=lambda state: _tell(state, on_failure),
            reraise=True,
        ):
            with attempt:
                try:
                    reply = await self._get_once(url)
                except FetchFailed as error:
                    self._watch.failed(str(error), source)
                    raise
                self._watch.answered(source)
                return reply
        raise AssertionError("tenacity either returns or raises")

    def forget(self, url: str) -> None:
        """Make the next request for this URL unconditional: what it gave last time was not usable."""
        self._validators.pop(url, None)

    async def _get_once(self, url: str) -> Reply:
        problem = ""
        try:
            async with (
                self._client.stream("GET", url, headers=self._validators.get(url)) as response,
                asyncio.timeout(WHOLE_ANSWER_WITHIN),
            ):
                body = await _read(response)
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            problem = redact(f"{type(error).__name__}: {error}".rstrip(": "))
        except TimeoutError:
            problem = f"no whole answer within {WHOLE_ANSWER_WITHIN:g} s"
        if problem:
            # Raised out here, so that the httpx exception, which carries the URL, is not attached to it.
            raise Transient(problem)
        if response.status_code == 304:
            return Reply(None)
        if response.is_success and len(body) <= MAX_BODY:
            self._remember(url, response.headers)
            return Reply(body)
        raise _failure(response, body)

    def _remember(self, url: str, headers: httpx.Headers) -> None:
        validators = {"If-None-Match": headers.get("etag"), "If-Modified-Since": headers.get("last-modified")}
        # Only what can be sent back: a header may come with bytes that httpx refuses to send.
        self._validators[url] = {
            name: value for name, value in validators.items() if value and value.isascii()
        }

    def _wait(self, state: RetryCallState) -> float:
        backoff = wait_random_exponential(multiplier=self._backoff.first, max=self._backoff.longest)
        error = state.outcome.exception() if state.outcome else None
        asked = error.retry_after if isinstance(error, Transient) else None
        return max(asked or 0.0, backoff(state))


async def _read(response: httpx.Response) -> bytes:
    parts, size = [], 0
    async for part in response.aiter_bytes():
        parts.append(part)
        size += len(part)
        if size > MAX_BODY:
            break
    return b"".join(parts)


def _failure(response: httpx.Response, body: bytes) -> FetchFailed:
    status = response.status_code
    if response.is_success:
        detail = f"the body has more than {MAX_BODY} bytes; its beginning is kept"
        beginning = redact_bytes(body)[
            :KEPT_OF_TOO_LARGE
        ]  # before the cut: half a secret would not be known for one
        return FetchFailed(detail, Rejection("too_large", detail, beginning), status)
    detail = redact(f"HTTP {status} {response.reason_phrase}".rstrip())
    rejection = Rejection("http_error", detail, body) if body else None
    if status in _RETRIED:
        return Transient(detail, rejection, status, retry_after(response.headers.get("retry-after")))
    return FetchFailed(detail, rejection, status)


def retry_after(value: str | None, now: datetime | None = None) -> float | None:
    """Seconds to wait by a Retry-After header, given as seconds or as an HTTP date; at most an hour."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), MAX_RETRY_AFTER)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return min(max(0.0, (moment - (now or datetime.now(UTC))).total_seconds()), MAX_RETRY_AFTER)


def place(url: str) -> str:
    """A URL as it may be printed: host, port and path, without user, password and query."""
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    return redact(f"{parts.hostname}{port}{parts.path}")


def _tell(state: RetryCallState, on_failure: Callable[[Transient, float], None]) -> None:
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, Transient):
        on_failure(error, state.upcoming_sleep)
