"""The span of hours that a person names, and what to tell them when it is none. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from millrace.publish.layout import HOUR, hour_of

DEFAULT_SPAN = timedelta(hours=24)


class NotASpan(ValueError):
    """What was given is no span of whole hours; says what would be."""


def parse_span(start: str | None, end: str | None, now: datetime) -> tuple[datetime, datetime]:
    """[start, end) in aware UTC. `end` left out means now; `start` left out, a day before `end`.

    Raises NotASpan.
    """
    until = _hour(end, "--to") if end is not None else hour_of(now) + HOUR
    since = _hour(start, "--from") if start is not None else until - DEFAULT_SPAN
    if since >= until:
        raise NotASpan(
            f"--from {since:%Y-%m-%dT%H}Z is not before --to {until:%Y-%m-%dT%H}Z; --to itself is not read"
        )
    return since, until


def _hour(text: str, option: str) -> datetime:
    try:
        time = datetime.fromisoformat(text.strip())
    except ValueError:
        raise NotASpan(
            f"{option} {text!r} is not a time: write a day such as 2026-03-01, or the beginning of an hour in UTC "
            "such as 2026-03-01T14 or 2026-03-01T14:00Z"
        ) from None
    time = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    if time != hour_of(time):
        raise NotASpan(
            f"{option} {text!r} is {time:%Y-%m-%d %H:%M:%S} UTC, not the beginning of an hour: write "
            f"{hour_of(time):%Y-%m-%dT%H:%MZ} or {hour_of(time) + HOUR:%Y-%m-%dT%H:%MZ}"
        )
    return time
