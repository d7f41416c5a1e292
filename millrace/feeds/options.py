"""What may stand under `options` of a feed in `catalog/feeds.yaml`, by kind.

Unknown keys are refused, so that a misspelt one does not silently do nothing.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from millrace.catalog import CatalogError, Duration, FeedSpec
from millrace.feeds.city.stations import MAX_STATIONS

SystemId = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^\S+$")]


def _at_least(least: timedelta) -> AfterValidator:
    def check(value: timedelta) -> timedelta:
        if value < least:
            raise ValueError(f"it must be at least {least.total_seconds():g}s")
        return value

    return AfterValidator(check)


def _whole_seconds(value: timedelta) -> timedelta:
    if value.microseconds:
        raise ValueError("it must be whole seconds")
    return value


def _timezone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("it is not a time zone such as UTC or Europe/Berlin") from None
    return value


def _http_url(value: str) -> str:
    try:
        parts = urlsplit(value)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("it is not a URL such as https://example.org/gbfs.json")
    return value


Interval = Annotated[Duration, _at_least(timedelta(seconds=5)), AfterValidator(_whole_seconds)]
HttpUrl = Annotated[str, AfterValidator(_http_url)]


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CityOptions(_Options):
    """`city`: a simulated city. Another seed, another number of stations or another demand is another city and
    needs another `system_id`: its counts would not continue those of the first."""

    system_id: SystemId = "city"
    seed: int = 1
    stations: int = Field(default=120, ge=5, le=MAX_STATIONS)
    trips_per_station: float = Field(default=30.0, gt=0, le=500)
    """Rides wished for per station on an ordinary weekday."""
    timezone: Annotated[str, AfterValidator(_timezone)] = "UTC"
    """Whose mornings and evenings the rhythm follows."""
    interval: Interval = timedelta(seconds=30)
    history: Annotated[Duration, _at_least(timedelta(0))] = timedelta(hours=24)
    """How much of the past is written when the topic knows nothing of this city yet."""
    catch_up: Annotated[Duration, _at_least(timedelta(0))] = timedelta(days=7)
    """The longest gap that is filled; after a longer one the city begins anew with `history`."""
    keep_truth: Annotated[Duration, _at_least(timedelta(days=1))] = timedelta(days=35)
    """How long the ground-truth files stay."""


class GbfsSystem(_Options):
    """One GBFS system. `system_id` is taken from its system_information unless it is given here."""

    url: HttpUrl
    system_id: SystemId | None = None


def _as_system(value: object) -> object:
    return {"url": value} if isinstance(value, str) else value


class GbfsOptions(_Options):
    """`gbfs`: real systems, each from the URL of its gbfs.json."""

    systems: list[Annotated[GbfsSystem, BeforeValidator(_as_system)]] = Field(min_length=1)
    """URLs, or mappings with `url` and `system_id`."""
    interval: Interval = timedelta(seconds=30)
    """Never fetch more often than this; a system's own `ttl` may make it longer."""
    language: str = "en"


class SeoulOptions(_Options):
    """`seoul`: the bikeList API. The key comes from the environment, SEOUL_API_KEY, and from nowhere else."""

    system_id: SystemId = "seoul"
    url: HttpUrl = "http://openapi.seoul.go.kr:8088"
    interval: Interval = timedelta(seconds=60)


class ReplayOptions(_Options):
    """`replay`: recorded polls."""

    files: list[str] = Field(min_length=1)
    system_id: SystemId = "recorded"
    speed: float | None = Field(default=None, gt=0)
    """A multiple of real time; as fast as possible when left out."""
    times: Literal["recorded", "now"] = "recorded"
    """`now` moves all times so that the last poll is at the start of the replay."""


Options = CityOptions | GbfsOptions | SeoulOptions | ReplayOptions
OPTIONS: dict[str, type[_Options]] = {
    "city": CityOptions,
    "gbfs": GbfsOptions,
    "seoul": SeoulOptions,
    "replay": ReplayOptions,
}
OptionsModel = TypeVar("OptionsModel", bound=_Options)


def validate_feed(spec: FeedSpec) -> None:
    """Check a feed's kind and options. Raises CatalogError naming the key and what would be right."""
    if spec.kind not in OPTIONS:
        raise CatalogError(
            f"feeds.yaml: {spec.name}.kind is {spec.kind!r}; the kinds are: {', '.join(sorted(OPTIONS))}"
        )
    parse_options(spec, OPTIONS[spec.kind])


def parse_options(spec: FeedSpec, model: type[OptionsModel]) -> OptionsModel:
    """A feed's options as the model of its kind. Raises CatalogError."""
    try:
        return model.model_validate(spec.options)
    except ValidationError as error:
        problems = "; ".join(_explained(spec, model, problem) for problem in error.errors())
        raise CatalogError(problems) from None


def _explained(spec: FeedSpec, model: type[_Options], problem: Any) -> str:
    key = ".".join([spec.name, "options", *(str(part) for part in problem["loc"])])
    if problem["type"] == "extra_forbidden":
        if spec.kind == "seoul" and "key" in str(problem["loc"][-1]).lower():
            # The value is not repeated: it is probably the key itself.
            return f"feeds.yaml: {key}: the key belongs in the environment, SEOUL_API_KEY, not in a file"
        known = ", ".join(model.model_fields if len(problem["loc"]) == 1 else GbfsSystem.model_fields)
        return f"feeds.yaml: {key} is not known to kind {spec.kind!r}; it knows: {known}"
    if problem["type"] == "missing":
        return f"feeds.yaml: {key} is missing"
    return f"feeds.yaml: {key}: {problem['msg'].removeprefix('Value error, ')} (found {problem['input']!r})"
