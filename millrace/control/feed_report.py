"""What a feed says of its source, in its status."""

from __future__ import annotations

from millrace.control.layout import ControlObject, UtcDatetime


class FeedReport(ControlObject):
    """How it stands between a feed and its source. Times are UTC, by the feed's clock; durations seconds."""

    last_sent_at: UtcDatetime | None = None
    """When a message was last handed over to be sent; the status's `last_progress_at` says when Kafka took one."""
    waiting_since: UtcDatetime | None = None
    """Since when messages wait for Kafka and none was taken; None when none waits."""
    answered_at: UtcDatetime | None = None
    """When the source last answered, whatever it said; None for a source that is not asked."""
    nothing_new_at: UtcDatetime | None = None
    """When the source last said that it has nothing new."""
    problem: str | None = None
    """Why the source cannot be reached now."""
    problem_since: UtcDatetime | None = None
    unreadable: str | None = None
    """What of its answers could not be read, since the last message that was sent."""
    lease_seconds: float | None = None
    """It goes on sending for so long after the store has last said that its epoch is the newest; None: for ever."""
    pace: float | None = None
    """It should send at least once in so many seconds; None where that depends on the source."""
