"""The city as a running feed: what is missing up to now at once, then a poll every interval.

History, gaps and live polls are one loop over one grid of times, so a gap is filled exactly as if the feed had
never been down. The history has the live interval too: a day at 30 s is 2,880 polls and takes well under
a second to make.
"""

from __future__ import annotations

import logging
from functools import partial
from zoneinfo import ZoneInfo

from millrace.catalog import CatalogError
from millrace.feeds.city.polls import polls
from millrace.feeds.city.simulate import City
from millrace.feeds.city.truth import TruthLog
from millrace.feeds.context import FeedContext, shown
from millrace.feeds.envelope import Page, decode, poll_pages
from millrace.feeds.last_poll import last_poll_page
from millrace.feeds.model import Poll
from millrace.feeds.options import CityOptions
from millrace.feeds.send_poll import send_poll

log = logging.getLogger(__name__)


def run(context: FeedContext, options: CityOptions) -> None:
    """Run until stopped. Raises CatalogError when another city has written under this system id."""
    city = City(options.seed, options.stations, options.trips_per_station, ZoneInfo(options.timezone))
    step = int(options.interval.total_seconds())
    last = last_poll_page(context.bootstrap, context.topic, options.system_id)
    first = _first(last, context.now(), step, options)
    before = last if last is not None and first <= last.poll.observed_at + step else None
    if before is not None:
        _check_same_city(city, before, options.system_id)
    truth = TruthLog(context.directory / "trips", city, options.system_id, options.keep_truth)
    try:
        if before is not None:
            # The first poll may be of another day, and the end of the day of the last one be still to write.
            truth.write_until(before.poll.observed_at)
        _send(context, city, truth, options.system_id, first, step)
    finally:
        truth.close()


def _first(last: Page | None, now: int, step: int, options: CityOptions) -> int:
    """The time of the first poll to send, epoch seconds UTC on the grid of the interval."""
    history = _grid(now - int(options.history.total_seconds()), step)
    if last is None:
        log.info("%s: nothing in Kafka yet; begins at %s", options.system_id, shown(history))
        return history
    at = last.poll.observed_at
    if now - at > options.catch_up.total_seconds():
        log.warning(
            "%s: the last poll in Kafka is of %s, further back than catch_up; begins anew at %s",
            options.system_id,
            shown(at),
            shown(history),
        )
        return history
    # A poll of several pages may have been cut off; sent again, its first pages count once.
    first = at if last.page + 1 < last.pages else _grid(at, step) + step
    log.info("%s: the last poll in Kafka is of %s; goes on at %s", options.system_id, shown(at), shown(first))
    if at > now + 300:
        log.warning("%s: that is in the future; waits until then. Is the clock right?", options.system_id)
    return first


def _check_same_city(city: City, last: Page, system_id: str) -> None:
    poll = next(polls(city, system_id, last.poll.observed_at, 1))
    pages = poll_pages(poll)
    if last.page < len(pages) and decode(pages[last.page]) == last:
        return
    raise CatalogError(
        f"the polls of {system_id!r} in Kafka, up to {shown(last.poll.observed_at)}, come from another city "
        "(its seed, stations, trips_per_station or timezone were different): its counts would jump. Give this "
        "city a system_id of its own, or put the old options back"
    )


def _send(context: FeedContext, city: City, truth: TruthLog, system_id: str, first: int, step: int) -> None:
    missing = max(0, (context.now() - first) // step + 1)
    began = context.clock()
    for sent, poll in enumerate(polls(city, system_id, first, step), start=1):
        live = sent > missing
        if live and context.once:
            return
        if not _wait_for(context, poll.observed_at):
            return
        send_poll(context.sink, poll, partial(_say, context, poll) if live else None)
        truth.write_until(poll.observed_at)
        if sent == missing:
            log.info("%s: wrote the %d polls up to now in %.1f s", system_id, sent, context.clock() - began)


def _wait_for(context: FeedContext, moment: int) -> bool:
    """Wait until the wall clock shows a moment; False when asked to stop. In short steps, because the wall
    clock can be set and a computer can sleep."""
    while not context.stop.is_set:
        left = moment - context.clock()
        if left <= 0:
            return True
        context.stop.wait(min(left, 5.0))
    return False


def _say(context: FeedContext, poll: Poll, pages: int) -> None:
    log.info(
        "%s: poll of %s stored: %d stations, %d page(s), %.1f s after its time",
        poll.system_id,
        shown(poll.observed_at),
        len(poll.stations),
        pages,
        context.clock() - poll.observed_at,
    )


def _grid(moment: int, step: int) -> int:
    return moment // step * step
