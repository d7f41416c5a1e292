"""GBFS systems as a running feed: each polled at its own pace, all in one process."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import TypeVar

from millrace.feeds.context import FeedContext, shown
from millrace.feeds.gbfs.parse import parse_discovery, parse_station_status, parse_system_id
from millrace.feeds.http import Backoff, Fetcher, FetchFailed, Reply, Transient, new_client, place
from millrace.feeds.model import Parsed, Poll, Rejection, Unreadable
from millrace.feeds.options import GbfsOptions, GbfsSystem
from millrace.feeds.reading import identifier
from millrace.feeds.send_poll import send_poll
from millrace.feeds.tasks import run_until_stopped

log = logging.getLogger(__name__)

Value = TypeVar("Value")

_DISCOVER_AGAIN = 24 * 3600.0
_REFUSED_WAIT = 300.0
_MOVED_AFTER = 600.0
"""Seconds for which an address from gbfs.json may fail; then gbfs.json is read again, which may name another by now."""
_STALE = 900
_FUTURE = 300


def run(context: FeedContext, options: GbfsOptions, backoff: Backoff | None = None) -> None:
    """Run until stopped; with `context.once`, until each system has been polled once."""
    backoff = backoff or Backoff(attempts=4 if context.once else None)
    asyncio.run(_run(context, options, backoff))


async def _run(context: FeedContext, options: GbfsOptions, backoff: Backoff) -> None:
    taken: dict[str, str] = {}
    async with new_client() as client:
        fetcher = Fetcher(client, backoff, context.watch)
        pollers = [_SystemPoller(context, options, system, fetcher, taken) for system in options.systems]
        await run_until_stopped(context.stop, [poller.run() for poller in pollers])
    if context.once and not all(poller.sent for poller in pollers):
        silent = ", ".join(poller.label for poller in pollers if not poller.sent)
        raise FetchFailed(f"no poll came from {silent}; the lines above say why")


class _SystemPoller:
    """One system, from its gbfs.json on. Whatever it answers, it is asked again; only the wait differs."""

    def __init__(
        self,
        context: FeedContext,
        options: GbfsOptions,
        system: GbfsSystem,
        fetcher: Fetcher,
        taken: dict[str, str],
    ) -> None:
        self._context = context
        self._options = options
        self._system = system
        self._fetcher = fetcher
        self._taken = taken
        self._interval = options.interval.total_seconds()
        self._system_id = system.system_id
        self._source = place(system.url)
        self._status_url: str | None = None
        self._discovered = 0.0
        self._recent: deque[int] = deque(maxlen=16)
        self._told_stale = 0
        self._wait = self._interval
        self.sent = 0

    @property
    def label(self) -> str:
        return self._system_id or place(self._system.url)

    async def run(self) -> None:
        while True:
            wait = await self._turn()
            if self._context.once:
                return
            await asyncio.sleep(wait)

    async def _turn(self) -> float:
        """One look at the system; the seconds until the next."""
        try:
            return await self._poll(await self._address())
        except FetchFailed as error:
            self._status_url = None  # it may have moved: gbfs.json is read again
            asked = error.retry_after if isinstance(error, Transient) else None
            wait = max(self._interval, _REFUSED_WAIT, asked or 0.0)
            self._tell(error, f"asks again in {wait:.0f} s, from gbfs.json on")
            return wait

    async def _address(self) -> str:
        """Where station_status is. gbfs.json is read again once a day; an address that it named serves on when it
        cannot be read just then."""
        known = self._status_url
        if known is not None and self._context.clock() - self._discovered <= _DISCOVER_AGAIN:
            return known
        try:
            known = await self._discover()
        except FetchFailed as error:
            if known is None:
                raise
            self._tell(error, "goes on with the address of station_status that it knows")
        self._status_url, self._discovered = known, self._context.clock()
        return known

    async def _discover(self) -> str:
        feeds = await self._read(
            self._system.url, lambda body: parse_discovery(body, self._system.url, self._options.language)
        )
        if "station_status" not in feeds:
            names = ", ".join(sorted(feeds)) or "nothing"
            raise FetchFailed(f"gbfs.json lists no station_status; it lists {names[:200]}")
        if self._system_id is None:
            if "system_information" in feeds:
                found = await self._read(feeds["system_information"], parse_system_id)
            else:
                found = identifier(place(self._system.url), "the URL")
                log.warning("%s: has no system_information; %r serves as its system_id", self.label, found)
            self._claim(found)
        else:
            self._claim(self._system_id)
        log.info("%s: found at %s", self.label, place(self._system.url))
        return feeds["station_status"]

    def _claim(self, system_id: str) -> None:
        other = self._taken.setdefault(system_id, self._system.url)
        if other != self._system.url:
            raise FetchFailed(
                f"{place(self._system.url)} calls itself {system_id!r}, and so does {place(other)}: their "
                "stations would be mixed. Give one of them a `system_id` of its own in the options"
            )
        self._system_id = system_id

    async def _poll(self, url: str) -> float:
        reply = await self._get(url, _MOVED_AFTER)
        now = self._context.now()
        if reply.body is None:
            self._tell_if_stale(now)
            return self._wait
        assert self._system_id is not None
        # From here to the sending there is no await: what was fetched cannot be lost to a cancellation.
        parsed = parse_station_status(reply.body, self._system_id, now)
        self._wait = max(self._interval, float(parsed.ttl or 0))
        if parsed.poll is None:
            self._fetcher.forget(url)
        elif parsed.poll.observed_at in self._recent:
            self._tell_if_stale(now)
        else:
            self._send(parsed.poll, now)
        self._settle_rejections(parsed)
        return self._wait

    def _send(self, poll: Poll, now: int) -> None:
        self._recent.append(poll.observed_at)
        if poll.observed_at > now + _FUTURE:
            log.warning(
                "%s: is dated %s, in the future; readers will reject this poll. Its clock, or ours?",
                self.label,
                shown(poll.observed_at),
            )

        def say(pages: int) -> None:
            late = now - poll.observed_at
            when, stations = shown(poll.observed_at), len(poll.stations)
            log.info(
                "%s: poll of %s stored: %d stations, %d page(s), fetched %d s after its time; next in %.0f s",
                self.label, when, stations, pages, late, self._wait,
            )  # fmt: skip

        send_poll(self._context.sink, poll, say)
        self.sent += 1

    def _settle_rejections(self, parsed: Parsed) -> None:
        for rejection in parsed.rejections:
            then = "the other stations were sent" if parsed.poll else "nothing was sent"
            self._reject(rejection, f"{then}; asks again in {self._wait:.0f} s")
        if not parsed.rejections:
            self._context.repeats.forget(self.label)

    def _tell_if_stale(self, now: int) -> None:
        self._context.watch.nothing_new()
        newest = max(self._recent, default=0)
        if newest and now - max(newest, self._told_stale) > _STALE:
            self._told_stale = now
            log.warning("%s: answers, but nothing is newer than %s", self.label, shown(newest))

    async def _read(self, url: str, parse: Callable[[bytes], Value]) -> Value:
        """Fetch and parse one of the small files. Raises FetchFailed for what cannot be read."""
        self._fetcher.forget(url)
        within = None if url == self._system.url else _MOVED_AFTER
        if self._status_url is not None:
            within = 0.0  # polls wait for this, and could go on without it
        reply = await self._get(url, within)
        body = reply.body or b""
        try:
            return parse(body)
        except Unreadable as error:
            detail = f"{place(url)}: {error.detail}"
            raise FetchFailed(detail, Rejection(error.reason, detail, body)) from None

    async def _get(self, url: str, within: float | None) -> Reply:
        return await self._fetcher.get(
            url,
            on_failure=lambda error, wait: self._tell(error, f"next try in {wait:.0f} s"),
            source=self._source,
            within=within,
        )

    def _tell(self, error: FetchFailed, then: str) -> None:
        if error.rejection is not None:
            self._reject(error.rejection, then)
        else:
            level = logging.WARNING if isinstance(error, Transient) else logging.ERROR
            log.log(level, "%s: %s; %s", self.label, error, then)

    def _reject(self, rejection: Rejection, then: str) -> None:
        now = self._context.now()
        self._context.reject(self.label, rejection, system_id=self._system_id, then=then, fetched_at=now)
