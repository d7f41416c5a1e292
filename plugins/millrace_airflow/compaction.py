"""What the tasks of `compact_hourly` do, apart from Airflow: which hours, in which chunks, with what result."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

HOUR = timedelta(hours=1)
CHUNK = 24
"""Hours per mapped task: its process and imports cost seconds, an hour milliseconds."""
MOST_CHUNKS = 500
"""Airflow maps at most 1,024; what is over is due again in the next run. Spark takes as many hours, since
Airflow's database keeps a result for each."""
SPARK_ABOVE = 200
"""Due hours above which Spark folds them: its start costs 15 s, and it uses every core."""
SPARK_PART = 12
"""Hours per Spark task: enough that its hours have the hour before them published when they are audited."""
MOST_NAMED = 100
"""Failed hours that are named in the end; more are one cause, and nobody reads on."""


class NotAnHour(ValueError):
    """What was asked for by hand is not an hour that can be published; says what would be."""


@dataclass(frozen=True)
class Plan:
    """What one run is to publish."""

    chunks: list[dict[str, Any]]
    """Each {"name", "dataset", "hours"}: JSON, since it goes through Airflow's database."""
    put_off: int = 0
    """Due hours beyond what one run takes."""
    backlog: list[dict[str, Any]] = field(default_factory=list)
    """The same, for Spark; when there is any, `chunks` is empty."""

    @property
    def hours(self) -> int:
        return sum(len(chunk["hours"]) for chunk in [*self.chunks, *self.backlog])


def requested_hour(text: str, now: datetime) -> datetime:
    """The hour (aware UTC) that a person asked for. Raises NotAnHour with clear words.

    `text` is ISO 8601; without a zone it means UTC.
    """
    try:
        asked = datetime.fromisoformat(text.strip())
    except ValueError:
        raise NotAnHour(
            f"hour {text!r} is not a time: write the beginning of an hour in UTC, such as {_example(now)}"
        ) from None
    asked = asked.replace(tzinfo=UTC) if asked.tzinfo is None else asked.astimezone(UTC)
    hour = asked.replace(minute=0, second=0, microsecond=0)
    if asked != hour:
        raise NotAnHour(
            f"hour {text!r} is {asked:%Y-%m-%d %H:%M:%S} UTC, which is not the beginning of an hour: write "
            f"{_iso(hour)} for the hour that holds it (hours are UTC hours, also where the local time "
            "zone is off by half an hour)"
        )
    if hour + HOUR > now:
        raise NotAnHour(
            f"the hour {_iso(hour)} has not ended yet (it is {now:%Y-%m-%d %H:%M} UTC now); the latest "
            f"that can be published is {_example(now)}"
        )
    return hour


def planned(due: Iterable[tuple[str, Sequence[datetime]]], spark_above: int = SPARK_ABOVE) -> Plan:
    """Chunks of the due hours of each dataset, in order of time; what is too much is put off.

    More than `spark_above` hours in all go to Spark, whole: an hour must never have two publishers.
    """
    listed = [(dataset, list(hours)) for dataset, hours in due]
    to_spark = sum(len(hours) for _, hours in listed) > spark_above
    size = SPARK_PART if to_spark else CHUNK
    chunks: list[dict[str, Any]] = []
    put_off = 0
    for dataset, hours in listed:
        for start in range(0, len(hours), size):
            part = hours[start : start + size]
            if len(chunks) < MOST_CHUNKS * CHUNK // size:
                chunks.append(_chunk(dataset, part))
            else:
                put_off += len(part)
    return Plan([], put_off, chunks) if to_spark else Plan(chunks, put_off)


def failures_text(failed: Sequence[dict[str, Any]]) -> str:
    """What failed and what to do, for the end of a red task."""
    lines = [f"  {one['dataset']} {one['hour']}: {one['error']}" for one in failed[:MOST_NAMED]]
    if len(failed) > MOST_NAMED:
        lines.append(f"  and {len(failed) - MOST_NAMED} more")
    return "\n".join(
        [
            f"{len(failed)} hour(s) could not be published:",
            *lines,
            "The other hours are published. Nothing is lost: what landed stays until it is published, and "
            "the next run tries again by itself. If it fails again, see the DAG's docs.",
        ]
    )


def asset_extra(result: dict[str, Any]) -> dict[str, Any]:
    """What an asset event says of a published hour."""
    return {name: result[name] for name in ("hour", "rev", "status", "rows")}


def _chunk(dataset: str, hours: Sequence[datetime]) -> dict[str, Any]:
    name = f"{dataset} {hours[0]:%Y-%m-%d %H}h"
    if len(hours) > 1:
        name += f" to {hours[-1]:%Y-%m-%d %H}h ({len(hours)} hours)"
    return {"name": name, "dataset": dataset, "hours": [_iso(hour) for hour in hours]}


def _iso(hour: datetime) -> str:
    return f"{hour:%Y-%m-%dT%H:%M:%SZ}"


def _example(now: datetime) -> str:
    latest = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0) - HOUR
    return _iso(latest)
