"""What may stand under `options` of a feed of posts in `catalog/feeds.yaml`, by kind."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import Field

from millrace.catalog import Duration
from millrace.feeds.option_types import FeedOptions, Rate


class PostsDemoOptions(FeedOptions):
    """`posts_demo`: made up, from a seed. All but the time of a post is a function of the seed and its number."""

    seed: int = 1
    rate: Rate = 5.0
    """Posts per second."""
    history: Duration = timedelta(0)
    """How much of the past an empty topic is given at once, at the same rate; the gap of a stop is not filled."""
    total: int | None = Field(default=None, ge=1)
    """The number of the last post; without end when left out."""


class TweetsOptions(FeedOptions):
    """`tweets`: a CSV of recorded tweets."""

    file: str = Field(min_length=1)
    """Plain, xz or gzip."""
    speed: float | None = Field(default=None, gt=0)
    """A multiple of real time; as fast as possible when left out."""
    times: Literal["recorded", "now"] = "recorded"
    """`now` moves all times so that the newest is the moment at which it will be sent."""
    again: bool = False
    """Begin with the first tweet although the topic holds tweets of this file already."""
