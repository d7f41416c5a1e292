"""What may stand under `options` of a feed of orders in `catalog/feeds.yaml`, by kind."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import Field

from millrace.catalog import Duration
from millrace.feeds.option_types import FeedOptions, Rate


class OrdersOptions(FeedOptions):
    """`orders`: made up, from a seed. All but the time of an order is a function of the seed and its id."""

    seed: int = 1
    rate: Rate = 10.0
    """Orders per second."""
    history: Duration = timedelta(0)
    """How much of the past an empty topic is given at once, at the same rate; the gap of a stop is not filled."""
    total: int | None = Field(default=None, ge=1)
    """The id of the last order; without end when left out."""


class OrdersReplayOptions(FeedOptions):
    """`orders_replay`: the lines of a file as they are."""

    file: str = Field(min_length=1)
    """Plain, xz or gzip."""
    rate: Rate = 10.0
    """Lines per second."""
    fast: bool = False
    """As fast as Kafka takes them, whatever `rate` says."""
    times: Literal["recorded", "now"] = "recorded"
    """`now` moves all times so that the newest is at the start of the replay."""
    again: bool = False
    """Begin with the first line although the topic holds lines of this file already."""
