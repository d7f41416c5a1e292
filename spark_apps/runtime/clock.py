"""The event-time clock of a stream: how far every source has come, and so which hours are complete.

Pure. The watermark is the minimum over the sources still heard from, less `late_by`. A source counts as
silent by the Kafka timestamps of the stream itself, not by the wall clock: so a retry, a restart and a
catch-up after an outage all seal the same hours.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

HOUR = 3600
EMPTY_HOURS_SEALED = 168
"""How many hours without facts are sealed at once. One poll dated 1970 must not seal half a million."""


@dataclass(frozen=True)
class SourceClock:
    """One source (a bike system): newest event time (epoch s), newest Kafka timestamp (epoch ms)."""

    newest_at: int | None
    heard_at: int
    ended: bool = False


@dataclass(frozen=True)
class Sealing:
    """`hours` (since the epoch) to seal now; all before `sealed_before` are; `open_hours` wait."""

    watermark: int | None
    hours: tuple[int, ...]
    sealed_before: int | None
    open_hours: tuple[int, ...]


def watermark(clocks: Iterable[SourceClock], late_by: timedelta, idle_after: timedelta) -> int | None:
    """Epoch seconds before which nothing more is expected; None when nothing is known.

    When every source has ended or fallen silent, it is the end of the newest hour seen.
    """
    known = [clock for clock in clocks if clock.newest_at is not None]
    if not known:
        return None
    now = max(clock.heard_at for clock in known)
    silent_before = now - idle_after.total_seconds() * 1000
    active = [
        c.newest_at for c in known if not c.ended and c.heard_at >= silent_before and c.newest_at is not None
    ]
    if active:
        return min(active) - int(late_by.total_seconds())
    newest = max(clock.newest_at for clock in known if clock.newest_at is not None)
    return (newest // HOUR + 1) * HOUR


def hours_to_seal(
    water: int | None, *, fact_hours: Iterable[int], open_hours: Iterable[int], sealed_before: int | None
) -> Sealing:
    """Which hours are complete now.

    `fact_hours`: hours since the epoch that this batch wrote to; one that was sealed before is sealed
    anew, with this batch's version. Hours without facts are sealed too, so that a reader can tell an
    empty hour from one that is still missing.
    """
    waiting = {*open_hours, *fact_hours}
    if water is None:
        return Sealing(None, (), sealed_before, tuple(sorted(waiting)))
    limit = water // HOUR
    complete = {hour for hour in waiting if hour < limit}
    if sealed_before is not None:
        complete |= set(range(max(sealed_before, limit - EMPTY_HOURS_SEALED), limit))
    elif complete:
        complete |= set(range(max(min(complete), limit - EMPTY_HOURS_SEALED), limit))
    if sealed_before is None and not complete:
        return Sealing(water, (), None, tuple(sorted(waiting)))
    return Sealing(
        watermark=water,
        hours=tuple(sorted(complete)),
        sealed_before=max(limit, sealed_before if sealed_before is not None else limit),
        open_hours=tuple(sorted(waiting - complete)),
    )


def as_datetime(seconds: int) -> datetime:
    """Epoch seconds as aware UTC."""
    return datetime.fromtimestamp(seconds, tz=UTC)


def as_text(milliseconds: int | None) -> str | None:
    """Epoch milliseconds as ISO 8601 in UTC, such as 2026-03-01T22:30:00.250Z."""
    if milliseconds is None:
        return None
    moment = datetime(1970, 1, 1) + timedelta(milliseconds=milliseconds)
    return f"{moment.isoformat(timespec='milliseconds')}Z"


def newest_clocks(
    before: Mapping[str, SourceClock], after: Mapping[str, SourceClock]
) -> dict[str, SourceClock]:
    """The clocks of all sources, those of `after` where it has them."""
    return {name: after.get(name) or before[name] for name in sorted({*before, *after})}
