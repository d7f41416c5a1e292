"""What may stand under `options` of a feed of orders in `catalog/feeds.yaml`, by kind."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from millrace.feeds.option_types import FeedOptions, MadeUpOptions, Rate


class OrdersOptions(MadeUpOptions):
    """`orders`: made up. All but the time of an order is a function of the seed and its id."""


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

    @property
    def recordings(self) -> list[Path]:
        return [Path(self.file).expanduser()]

    @property
    def pace(self) -> float | None:
        return None if self.fast else 1 / self.rate
