"""Where everything about an hour lies in the store, and what the names mean. Hours are aware UTC."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from millrace.publish.version import Version

HOUR = timedelta(hours=1)
_LANDING = re.compile(
    r"landing/(?P<dataset>[^/]+)/hour=(?P<hour>\d{4}-\d\d-\d\dT\d\d)/"
    r"(?P<replay>\d{5})-(?P<generation>\d{5})-(?P<batch>\d{10})-(?P<part>\d{5})-"
    r"(?:(?P<seal>seal)|(?P<digest>[0-9a-f]{16})\.parquet)"
)


class LayoutError(ValueError):
    """A key or a time that does not follow the layout."""


@dataclass(frozen=True)
class LandingName:
    """What the name of a landing object says."""

    dataset: str
    hour: datetime
    version: Version
    part: int
    is_seal: bool


def whole_hour(time: datetime) -> datetime:
    """The same time in UTC. Raises LayoutError unless it is aware and a whole hour."""
    if time.tzinfo is None:
        raise LayoutError(f"{time.isoformat()} has no time zone; hours are UTC, such as 2026-01-31T13:00Z")
    utc = time.astimezone(UTC)
    if (utc.minute, utc.second, utc.microsecond) != (0, 0, 0):
        raise LayoutError(f"{time.isoformat()} is not a whole UTC hour")
    return utc


def hour_of(time: datetime) -> datetime:
    """The UTC hour that contains a time."""
    return time.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def published_key(prefix: str, hour: datetime) -> str:
    """The one object that holds a published hour."""
    return f"{prefix}/{whole_hour(hour):%Y/%m/%d/%H}/part-0.parquet"


def published_hour(prefix: str, key: str) -> datetime:
    """The hour of a published key. Raises LayoutError."""
    match = re.fullmatch(re.escape(prefix) + r"/(\d{4}/\d\d/\d\d/\d\d)/part-0\.parquet", key)
    if match is None:
        raise LayoutError(f"{key} is not a published hour of {prefix}")
    return datetime.strptime(match[1], "%Y/%m/%d/%H").replace(tzinfo=UTC)


def landing_prefix(dataset: str, hour: datetime | None = None) -> str:
    """Where the facts of a dataset, or of one of its hours, land."""
    return f"landing/{dataset}/" + (f"hour={whole_hour(hour):%Y-%m-%dT%H}/" if hour else "")


def facts_key(dataset: str, hour: datetime, version: Version, part: int, body: bytes) -> str:
    """The name of one landing object: the hash makes one name mean one content for ever."""
    digest = hashlib.sha256(body).hexdigest()[:16]
    return f"{_landing_stem(dataset, hour, version, part)}-{digest}.parquet"


def seal_key(dataset: str, hour: datetime, version: Version, part: int = 0) -> str:
    """The name of a seal: its writer has written every fact of the hour up to this version."""
    return f"{_landing_stem(dataset, hour, version, part)}-seal"


def parse_landing_key(key: str) -> LandingName:
    """What a landing key says. Raises LayoutError for a name that nobody here wrote."""
    match = _LANDING.fullmatch(key)
    if match is None:
        raise LayoutError(f"{key} is not a landing object")
    return LandingName(
        dataset=match["dataset"],
        hour=datetime.strptime(match["hour"], "%Y-%m-%dT%H").replace(tzinfo=UTC),
        version=Version(int(match["replay"]), int(match["generation"]), int(match["batch"])),
        part=int(match["part"]),
        is_seal=match["seal"] is not None,
    )


def generation_key(dataset: str, generation: int) -> str:
    """The object that makes a generation known."""
    return f"generations/{dataset}/{generation:05d}.json"


def horizon_key(dataset: str) -> str:
    """The object that says from which hour on a dataset is kept."""
    return f"retention/{dataset}/horizon.json"


def _landing_stem(dataset: str, hour: datetime, version: Version, part: int) -> str:
    version.packed()  # refuses what would not fit before a name is made of it
    return (
        f"{landing_prefix(dataset, hour)}"
        f"{version.replay:05d}-{version.generation:05d}-{version.batch:010d}-{part:05d}"
    )
