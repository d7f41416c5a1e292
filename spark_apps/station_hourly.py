"""station_hourly: polls of bike stations -> rentals and returns per station and hour.

Source: Kafka topic `station_polls` (envelopes of docs/schemas.md). Transform: the exact station step.
Sink: facts of dataset `hourly_summary` in landing/; what cannot be used goes to rejected/.
"""

from __future__ import annotations

from millrace.catalog import StreamSpec
from spark_apps.runtime.app import main
from spark_apps.transforms.station_fold import StationFold
from spark_apps.transforms.stations import StationRules


def station_fold(spec: StreamSpec) -> StationFold:
    """The transform with the rules that the catalog gives it."""
    return StationFold(StationRules.of(late_by=spec.late_by, max_gap=spec.max_gap))


if __name__ == "__main__":
    main("station_hourly", station_fold)
