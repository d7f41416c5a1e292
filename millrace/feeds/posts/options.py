"""What may stand under `options` of a feed of posts in `catalog/feeds.yaml`, by kind."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from millrace.feeds.option_types import FeedOptions, MadeUpOptions, Rate


class PostsDemoOptions(MadeUpOptions):
    """`posts_demo`: made up. All but the time of a post is a function of the seed and its number."""

    rate: Rate = 5.0


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

    @property
    def recordings(self) -> list[Path]:
        return [Path(self.file).expanduser()]
