"""What the station semantics say, in plain Python over the whole history at once: slow, and obviously so.

Shares no code with the transform that it judges.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

Row = tuple[int, int, int, int, int, int]
"""total_rental, total_return, observations, gaps, last_observed_at (epoch s), bikes_at_end"""
Key = tuple[str, str, int]
"""system_id, station_id, hours since the epoch"""


@dataclass(frozen=True)
class Message:
    """One poll as it stands in Kafka; `stations` may name a station twice."""

    system_id: str
    observed_at: int
    kafka_at: int
    stations: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Truth:
    rows: dict[Key, Row]
    rejected: list[tuple[int, str]]
    """Number of the message, reason."""


def movements(messages: Iterable[Message], *, late_by: int, max_gap: int) -> Truth:
    newest: dict[str, int] = {}
    seen: dict[tuple[str, str], dict[int, int]] = {}
    rejected = []
    for number, message in enumerate(messages):
        if message.observed_at > message.kafka_at + 300:
            rejected.append((number, "future"))
            continue
        system = message.system_id
        if system in newest and message.observed_at < newest[system] - late_by:
            rejected.append((number, "too_late"))
            continue
        newest[system] = max(newest.get(system, message.observed_at), message.observed_at)
        for station, bikes in message.stations:
            counts = seen.setdefault((system, station), {})
            counts[message.observed_at] = max(bikes, counts.get(message.observed_at, 0))
    rows: dict[Key, list[int]] = {}
    for (system, station), counts in seen.items():
        before: tuple[int, int] | None = None
        for time in sorted(counts):
            bikes = counts[time]
            row = rows.setdefault((system, station, time // 3600), [0, 0, 0, 0, 0, 0])
            if before is not None:
                if time - before[0] > max_gap:
                    row[3] += 1
                elif bikes < before[1]:
                    row[0] += before[1] - bikes
                else:
                    row[1] += bikes - before[1]
            row[2] += 1
            row[4], row[5] = time, bikes
            before = (time, bikes)
    return Truth({key: (r[0], r[1], r[2], r[3], r[4], r[5]) for key, r in rows.items()}, rejected)
