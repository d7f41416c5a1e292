"""station_hourly: polls of bike stations -> rentals and returns per station and hour.

Source: Kafka topic `station_polls` (envelopes of docs/schemas.md). Transform: the exact station step.
Sink: facts of dataset `hourly_summary` in landing/; what cannot be used goes to rejected/.
"""

from __future__ import annotations

from datetime import timedelta

from pydantic import BaseModel, ConfigDict

from millrace.catalog import Duration, StreamSpec
from spark_apps.runtime.app import main, options_of
from spark_apps.transforms.station_fold import StationFold
from spark_apps.transforms.stations import StationRules


class Options(BaseModel):
    """`options` of the stream in catalog/streams.yaml."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    max_gap: Duration = timedelta(hours=2)
    """A longer silence of a station starts a new baseline."""


def fold_of(spec: StreamSpec) -> StationFold:
    """The transform with the rules that the catalog gives it."""
    return StationFold(StationRules.of(spec.late_by, options_of(spec, Options).max_gap))


if __name__ == "__main__":
    main("station_hourly", fold_of)
