"""The types of which the options of feeds are made; their errors say what would be right."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from millrace.catalog import Duration
from millrace.feeds.reading import is_http_url


class FeedOptions(BaseModel):
    """Unknown keys are refused, so that a misspelt one does not silently do nothing."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @property
    def pace(self) -> float | None:
        """A feed like this sends at least once in so many seconds; None: that depends on its source."""
        return None

    @property
    def recordings(self) -> list[Path]:
        """The files that it sends, all of which must be there before it begins."""
        return []


def at_least(least: timedelta) -> AfterValidator:
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
    if not is_http_url(value):
        raise ValueError("it is not a URL such as https://example.org/gbfs.json")
    return value


SystemId = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^\S+$")]
Interval = Annotated[Duration, at_least(timedelta(seconds=5)), AfterValidator(_whole_seconds)]
TimeZone = Annotated[str, AfterValidator(_timezone)]
HttpUrl = Annotated[str, AfterValidator(_http_url)]
Rate = Annotated[float, Field(gt=0, le=200_000)]
"""Messages per second."""


class MadeUpOptions(FeedOptions):
    """Of a feed that makes up numbered messages from a seed."""

    seed: int = 1
    rate: Rate = 10.0
    """Messages per second."""
    history: Duration = timedelta(0)
    """How much of the past an empty topic is given at once, at the same rate; the gap of a stop is not filled."""
    total: int | None = Field(default=None, ge=1)
    """The number of the last message; without end when left out."""

    @property
    def pace(self) -> float:
        return 1 / self.rate
