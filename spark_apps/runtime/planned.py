"""Which offsets Spark has planned for a micro-batch, from its own log: no request to Kafka or to the JVM."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from spark_apps.runtime.poison import Spans


def planned_spans(spark_directory: Path, topic: str, batch: int, before: Mapping[str, int]) -> Spans:
    """Partition to (first, next) offset of a planned batch that goes on from `before`; empty when not known."""
    ends = _planned(spark_directory / "offsets" / str(batch), topic)
    return {partition: (min(before.get(partition, 0), end), end) for partition, end in sorted(ends.items())}


def _planned(path: Path, topic: str) -> dict[str, int]:
    """The ends that Spark's offset log names: one of its lines is the JSON of the topic's partitions."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    for line in lines:
        try:
            found = json.loads(line)[topic]
            return {str(partition): int(end) for partition, end in found.items()}
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
    return {}
