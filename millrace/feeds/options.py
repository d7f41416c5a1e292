"""What may stand under `options` of a feed of bike stations in `catalog/feeds.yaml`, by kind."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from millrace.catalog import Duration
from millrace.feeds.city.stations import MAX_STATIONS
from millrace.feeds.option_types import FeedOptions, HttpUrl, Interval, SystemId, TimeZone, at_least


class CityOptions(FeedOptions):
    """`city`: a simulated city. Another seed, another number of stations or another demand is another city and
    needs another `system_id`: its counts would not continue those of the first."""

    system_id: SystemId = "city"
    seed: int = 1
    stations: int = Field(default=120, ge=5, le=MAX_STATIONS)
    trips_per_station: float = Field(default=30.0, gt=0, le=500)
    """Rides wished for per station on an ordinary weekday."""
    timezone: TimeZone = "UTC"
    """Whose mornings and evenings the rhythm follows."""
    interval: Interval = timedelta(seconds=30)
    history: Annotated[Duration, at_least(timedelta(0))] = timedelta(hours=24)
    """How much of the past is written when the topic knows nothing of this city yet."""
    catch_up: Annotated[Duration, at_least(timedelta(0))] = timedelta(days=7)
    """The longest gap that is filled; after a longer one the city begins anew with `history`."""
    keep_truth: Annotated[Duration, at_least(timedelta(days=1))] = timedelta(days=35)
    """How long the ground-truth files stay."""

    @property
    def pace(self) -> float:
        return self.interval.total_seconds()


class GbfsSystem(FeedOptions):
    """One GBFS system. `system_id` is taken from its system_information unless it is given here."""

    url: HttpUrl
    system_id: SystemId | None = None


def _as_system(value: object) -> object:
    return {"url": value} if isinstance(value, str) else value


class GbfsOptions(FeedOptions):
    """`gbfs`: real systems, each from the URL of its gbfs.json."""

    systems: list[Annotated[GbfsSystem, BeforeValidator(_as_system)]] = Field(min_length=1)
    """URLs, or mappings with `url` and `system_id`."""
    interval: Interval = timedelta(seconds=30)
    """Never fetch more often than this; a system's own `ttl` may make it longer."""
    language: str = "en"

    @property
    def pace(self) -> float:
        return self.interval.total_seconds()


class SeoulOptions(FeedOptions):
    """`seoul`: the bikeList API. The key comes from the environment, SEOUL_API_KEY, and from nowhere else."""

    system_id: SystemId = "seoul"
    url: HttpUrl = "http://openapi.seoul.go.kr:8088"
    interval: Interval = timedelta(seconds=60)

    @property
    def pace(self) -> float:
        return self.interval.total_seconds()


class ReplayOptions(FeedOptions):
    """`replay`: recorded polls."""

    files: list[str] = Field(min_length=1)
    system_id: SystemId = "recorded"
    speed: float | None = Field(default=None, gt=0)
    """A multiple of real time; as fast as possible when left out."""
    times: Literal["recorded", "now"] = "recorded"
    """`now` moves all times so that the last poll is at the start of the replay."""

    @property
    def recordings(self) -> list[Path]:
        return [Path(file).expanduser() for file in self.files]
