"""The Seoul bikeList API as a running feed: every interval all pages, as one poll.

The API has no timestamp: a poll is dated by the moment its first page came, and so are all its pages. So they must come
soon after one another: while the API does not answer for one of them, the counts on the others grow old.
The key stands in the path of the URL (the API knows no other place), so URLs are never printed here, and
`secrets` hides the key from what httpx prints.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import Mapping

from millrace.catalog import CatalogError
from millrace.feeds.context import FeedContext, shown
from millrace.feeds.http import Backoff, Fetcher, FetchFailed, Transient, new_client
from millrace.feeds.model import Poll, Rejection, Station, Unreadable
from millrace.feeds.options import SeoulOptions
from millrace.feeds.secrets import keep_secret, redact_bytes
from millrace.feeds.send_poll import send_poll
from millrace.feeds.seoul.parse import ROWS_PER_PAGE, ErrorReply, SeoulPage, parse_page
from millrace.feeds.tasks import run_until_stopped

log = logging.getLogger(__name__)

KEY_VARIABLE = "SEOUL_API_KEY"
_MAX_PAGES = 20
"""The city has 2,800 stations. An API that answers every page in full would be asked for ever."""
_REFUSED_WAIT = 300.0
_WHAT_TO_DO = {
    "INFO-100": f"the key is not valid: check {KEY_VARIABLE}",
    "ERROR-337": "the key has had its requests for today",
}


def run(
    context: FeedContext,
    options: SeoulOptions,
    backoff: Backoff | None = None,
    env: Mapping[str, str] = os.environ,
) -> None:
    """Run until stopped; with `context.once`, for one poll. Raises CatalogError when the key is missing."""
    key = env.get(KEY_VARIABLE, "").strip()
    if not re.fullmatch(r"[A-Za-z0-9]{4,}", key):
        state = "is not set" if not key else "is not a key: letters and digits"
        raise CatalogError(
            f"{KEY_VARIABLE} {state}. Get a key from the Seoul Open Data Plaza (data.seoul.go.kr) and export it; "
            "it is read from the environment only, in a stack from that of the `make up` that started it: export it "
            "between `make down` and `make up`"
        )
    keep_secret(key)
    backoff = backoff or Backoff(attempts=4 if context.once else None)
    asyncio.run(_run(context, options, key, backoff))


async def _run(context: FeedContext, options: SeoulOptions, key: str, backoff: Backoff) -> None:
    async with new_client() as client:
        poller = _Poller(context, options, key, Fetcher(client, backoff, context.watch))
        await run_until_stopped(context.stop, [poller.run()])
    if context.once and not poller.sent:
        raise FetchFailed("no poll came from Seoul; the lines above say why")


class _Poller:
    def __init__(self, context: FeedContext, options: SeoulOptions, key: str, fetcher: Fetcher) -> None:
        self._context = context
        self._base = f"{options.url.rstrip('/')}/{key}/json/bikeList"
        self._system_id = options.system_id
        self._interval = options.interval.total_seconds()
        self._fetcher = fetcher
        self._came_at = 0
        """When the first page of the poll in hand came, epoch seconds UTC."""
        self.sent = 0

    async def run(self) -> None:
        while True:
            wait = await self._turn()
            if self._context.once:
                return
            await asyncio.sleep(wait)

    async def _turn(self) -> float:
        """One poll; the seconds until the next. Pages that were fetched are sent even when a later one fails or the
        feed is stopped: a station that is missing from a poll costs nothing."""
        stations: list[Station] = []
        try:
            await self._pages(stations)
        except FetchFailed as error:
            asked = error.retry_after if isinstance(error, Transient) else None
            wait = max(self._interval, _REFUSED_WAIT, asked or 0.0)
            self._tell(error, f"asks again in {wait:.0f} s")
            return wait
        finally:
            if stations:
                self._send(Poll(self._system_id, self._came_at, self._came_at, stations))
        return max(0.0, self._interval - (self._context.clock() - self._came_at))

    async def _pages(self, stations: list[Station]) -> None:
        for number in range(_MAX_PAGES):
            page = await self._page(number)
            if number == 0:
                self._came_at = self._context.now()
            stations.extend(page.stations)
            for rejection in page.rejections:
                self._reject(rejection, "the other rows are sent")
            if page.is_last:
                break
        if not stations:
            raise FetchFailed("not one station could be read from the API")
        self._context.repeats.forget(self._system_id)

    async def _page(self, number: int) -> SeoulPage:
        first = number * ROWS_PER_PAGE + 1
        url = f"{self._base}/{first}/{first + ROWS_PER_PAGE - 1}/"
        self._fetcher.forget(url)
        reply = await self._fetcher.get(
            url,
            on_failure=lambda error, wait: self._tell(error, f"rows from {first}: next try in {wait:.0f} s"),
            within=self._interval if number else None,
        )
        body = reply.body or b""
        try:
            return parse_page(body)
        except Unreadable:
            body = redact_bytes(body)
        try:  # again without the key, should the server quote it: what is said of a reply is cut, and so half a key
            return parse_page(body)
        except Unreadable as error:
            what = _WHAT_TO_DO.get(error.code, "") if isinstance(error, ErrorReply) else ""
            detail = f"rows from {first}: {error.detail}" + (f" ({what})" if what else "")
            rejection = Rejection(error.reason, detail, body)
        raise FetchFailed(detail, rejection)

    def _send(self, poll: Poll) -> None:
        def say(pages: int) -> None:
            log.info(
                "%s: poll of %s stored: %d stations, %d page(s), %.1f s after its time",
                poll.system_id, shown(poll.observed_at), len(poll.stations), pages,
                self._context.clock() - poll.observed_at,
            )  # fmt: skip

        send_poll(self._context.sink, poll, say)
        self.sent += 1

    def _tell(self, error: FetchFailed, then: str) -> None:
        if error.rejection is not None:
            self._reject(error.rejection, then)
        else:
            level = logging.WARNING if isinstance(error, Transient) else logging.ERROR
            log.log(level, "%s: %s; %s", self._system_id, error, then)

    def _reject(self, rejection: Rejection, then: str) -> None:
        self._context.reject(
            self._system_id, rejection, system_id=self._system_id, then=then, fetched_at=self._context.now()
        )
