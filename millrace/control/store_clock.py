"""Spans by the store's clock, which may be set back: then what lies ahead of now must hold nothing up.

All times of control objects are by that clock. A step forward makes one span look too long, once; a step back
would make every wait last as long as the step, a day if need be.
"""

from __future__ import annotations

from datetime import datetime, timedelta

TOLERANCE = timedelta(seconds=5)
"""Answers of a store carry whole seconds, and two of them may cross."""


def lies_ahead(moment: datetime, now: datetime) -> bool:
    """Whether the clock was set back after `moment`."""
    return moment > now + TOLERANCE


def passed(since: datetime, span: timedelta, now: datetime) -> bool:
    """Whether a span is over. After a step back it counts as over: how long it was is not known."""
    return now >= since + span or lies_ahead(since, now)
