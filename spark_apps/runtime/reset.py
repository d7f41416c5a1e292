"""Resetting a stream: forget its state and read the open hours again from Kafka.

For a state that a new version cannot read, or another number of buckets. The hours before the oldest open
one keep what is published; from it on everything is counted anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from millrace.catalog import StreamSpec
from millrace.publish.generations import known_generations
from millrace.store import ObjectStore
from spark_apps.runtime.carried_state import newest_manifest
from spark_apps.runtime.checkpoint import new_checkpoint
from spark_apps.runtime.clock import HOUR, as_datetime
from spark_apps.runtime.errors import BadConfiguration
from spark_apps.runtime.kafka_source import TopicOffsets

CLOCKS_DIFFER = timedelta(minutes=5)
"""A poll may be dated this long after its arrival, so it may have arrived this long before its time."""


@dataclass(frozen=True)
class ResetPlan:
    """Where a new generation would begin. `first_complete_hour` is None when everything is read again."""

    first_complete_hour: datetime | None
    starting_offsets: dict[str, int]


@dataclass(frozen=True)
class Reset:
    """What a reset did. `first_complete_hour` is None when everything is read again."""

    generation: int
    first_complete_hour: datetime | None
    starting_offsets: dict[str, int]
    old_checkpoint: Path | None


def plan_reset(
    store: ObjectStore, spec: StreamSpec, topic: TopicOffsets, lookback: timedelta | None
) -> ResetPlan:
    """What a reset would read again; changes nothing.

    `lookback`: how far before the oldest open hour to begin; None: at the beginning of the topic, for a
    transform that carries something since then.

    Raises BadConfiguration when Kafka no longer holds what the open hours need.
    """
    partitions = topic.partitions()
    held = topic.bounds(partitions)
    manifest = newest_manifest(store, spec.name)
    first: datetime | None = None
    offsets = {partition: begin for partition, (begin, _) in held.items()}
    known_hours = [*manifest.open_hours, manifest.sealed_before] if manifest else []
    open_hours = [hour for hour in known_hours if hour is not None]
    truncated = sorted(partition for partition, (begin, _) in held.items() if begin > 0)
    if open_hours and lookback is not None:
        first = as_datetime(min(open_hours) * HOUR)
        offsets = topic.offsets_at(first - lookback - CLOCKS_DIFFER, partitions)
        lost = [partition for partition in truncated if offsets[partition] <= held[partition][0]]
    else:
        lost = truncated
    if lost:
        raise BadConfiguration(
            f"{spec.name} cannot be reset: Kafka no longer holds topic {spec.topic}, partition(s) {', '.join(lost)}, "
            f"back to {_need(first, lookback)}, so the open hours could not be counted whole. The state as it is can "
            "still be gone on from; lengthen the topic's retention for the next time"
        )
    return ResetPlan(first, offsets)


def reset_stream(
    store: ObjectStore,
    spec: StreamSpec,
    directory: Path,
    topic: TopicOffsets,
    lookback: timedelta | None,
) -> Reset:
    """Begin a new generation without the old state, as `plan_reset` says. No driver of the stream may be running."""
    plan = plan_reset(store, spec, topic, lookback)
    old = _set_aside(directory)
    parent = max(known_generations(store, spec.lineage), default=None)
    checkpoint = new_checkpoint(
        store,
        spec,
        directory,
        parent=parent,
        first_complete_hour=plan.first_complete_hour,
        base=None,
        starting_offsets=plan.starting_offsets,
    )
    return Reset(checkpoint.generation, plan.first_complete_hour, plan.starting_offsets, old)


def read_again(store: ObjectStore, spec: StreamSpec, directory: Path) -> Reset:
    """Begin a new generation that reads a source of files or numbers from its beginning. No driver may be running.

    Every hour is counted anew from what is there now: one whose files are gone in part would be counted in part.
    """
    old = _set_aside(directory)
    parent = max(known_generations(store, spec.lineage), default=None)
    checkpoint = new_checkpoint(
        store, spec, directory, parent=parent, first_complete_hour=None, base=None, starting_offsets=None
    )
    return Reset(checkpoint.generation, None, {}, old)


def _need(first: datetime | None, lookback: timedelta | None) -> str:
    if first is None or lookback is None:
        return "its beginning"
    return f"{first - lookback - CLOCKS_DIFFER:%Y-%m-%d %H:%M} UTC"


def _set_aside(directory: Path) -> Path | None:
    if not directory.exists():
        return None
    aside = directory.with_name(f"{directory.name}-before-{datetime.now(UTC):%Y%m%dT%H%M%S}")
    return directory.rename(aside)
