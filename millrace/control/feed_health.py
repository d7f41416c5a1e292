"""How a feed is doing, judged by what it sends and by what its source says. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

from millrace.control.feed_report import FeedReport
from millrace.control.spans import in_words
from millrace.control.status import DriverStatus

PACES = 4
"""So many times its own pace late: a slow answer and one that is left out are no stall yet."""

Word = Literal["running", "idle", "stalled"]


def feed_progress(
    status: DriverStatus, feed: FeedReport, who: str, stalled_after: timedelta
) -> tuple[Word, str]:
    """The health of a feed that is alive, in a word and a reason. Spans are taken between its own time stamps."""
    now = status.heartbeat_at
    quiet_after = max(stalled_after, timedelta(seconds=PACES * (feed.pace or 0)))
    quiet_for = now - (feed.last_sent_at or status.started_at)
    if status.lag and feed.waiting_since is not None:
        untaken_for = now - feed.waiting_since
        waits = f"{status.lag:,} message{'s' if status.lag > 1 else ''} for Kafka wait"
        if untaken_for > stalled_after:
            return (
                "stalled",
                f"{waits} and none was taken for {in_words(untaken_for)}: is Kafka up? {who} is alive",
            )
    if feed.problem is not None and feed.problem_since is not None:
        away_for = now - feed.problem_since
        said = f"its source has not answered for {in_words(away_for)} ({feed.problem}); {_last(feed, now)}"
        return (
            "stalled" if away_for > stalled_after or quiet_for > quiet_after else "running"
        ), f"{said}; {who} tries again"
    if quiet_for <= quiet_after:
        return "running", f"{who} sends; {_last(feed, now)}"
    if feed.unreadable is not None:
        return "stalled", f"its source answers, but cannot be read ({feed.unreadable}); {_last(feed, now)}"
    if feed.nothing_new_at is not None and now - feed.nothing_new_at <= quiet_after:
        return "idle", f"its source answers and has nothing new; {_last(feed, now)}"
    if feed.pace is not None:
        should = in_words(timedelta(seconds=feed.pace)) if feed.pace >= 1 else "second"
        return "stalled", f"{_last(feed, now)}, though it should every {should}; {who} is alive"
    return "idle", f"nothing comes from its source; {_last(feed, now)}"


def _last(feed: FeedReport, now: datetime) -> str:
    if feed.last_sent_at is None:
        return "it has sent nothing yet"
    return f"it last sent something {in_words(now - feed.last_sent_at)} ago"


def feed_numbers(
    status: DriverStatus, feed: FeedReport, age: timedelta
) -> dict[str, int | float | str | None]:
    """What stands behind the health of a feed."""
    return {
        "feed_epoch": status.driver_epoch,
        "heartbeat_age_seconds": round(age.total_seconds(), 1),
        "messages": status.records,
        "on_their_way": status.lag,
        "unreadable": sum(status.rejected.values()),
        "last_sent_at": feed.last_sent_at.isoformat() if feed.last_sent_at else None,
        "source_problem": feed.problem,
    }
