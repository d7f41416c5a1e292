"""How far another clock is from the one here, and what that would do."""

from __future__ import annotations

from datetime import datetime, timedelta

from millrace.doctor.finding import Finding, error, fine, warning

NOTICED = timedelta(seconds=5)
"""Below it lies the network, a busy machine, and an HTTP date without fractions of a second."""
HARMFUL = timedelta(seconds=60)
"""From here on hours are published too early or late, and heartbeats look old: they count as silent after seconds.
At 5 minutes records are rejected as dated in the future, at 15 S3 refuses every request."""


def skew(before: datetime, told: datetime, after: datetime, resolution: timedelta) -> timedelta:
    """The least difference (there minus here) that explains the answer; zero when the clocks may agree.

    `told` is some moment between `before` and `after` by the other clock, cut down to whole `resolution`s.
    """
    if told + resolution < before:
        return told + resolution - before
    return max(told - after, timedelta(0))


def judge(part: str, whose: str, found: timedelta) -> Finding:
    """What a difference of two clocks means."""
    seconds = found.total_seconds()
    if abs(found) < NOTICED:
        return fine(part, f"its clock and the one here agree (within {NOTICED.total_seconds():.0f} s)")
    says = f"{whose} clock is {abs(seconds):,.0f} s {'ahead of' if seconds > 0 else 'behind'} the one here"
    do = "let both machines keep time by NTP (`timedatectl`, or chrony); then run this again"
    return error(part, says, do) if abs(found) >= HARMFUL else warning(part, says, do)
