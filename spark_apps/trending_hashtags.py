"""trending_hashtags: posts -> the most used hashtags of the last seconds, and hashtags per source and hour.

Source: Kafka topic `posts` (docs/schemas.md). Transform: the exact hashtag step, windows in event time. Sinks: facts
of dataset `hashtags_hourly` in landing/; the top of the newest window in the live view.
"""

from __future__ import annotations

from datetime import timedelta

from pydantic import BaseModel, ConfigDict, Field, model_validator

from millrace.catalog import Duration, StreamSpec
from spark_apps.runtime.app import main, options_of
from spark_apps.transforms.hashtag_fold import HashtagFold
from spark_apps.transforms.sliding_window import SlidingWindow


class Options(BaseModel):
    """`options` of the stream in catalog/streams.yaml."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    window: Duration = timedelta(seconds=20)
    slide: Duration = timedelta(seconds=2)
    """Windows end at its multiples (since 1970-01-01 UTC)."""
    top: int = Field(default=10, ge=1, le=1000)

    @model_validator(mode="after")
    def _is_a_window(self) -> Options:
        SlidingWindow.of(self.window, self.slide)
        return self


def fold_of(spec: StreamSpec) -> HashtagFold:
    """The transform with the rules that the catalog gives it."""
    options = options_of(spec, Options)
    window = SlidingWindow.of(options.window, options.slide)
    return HashtagFold(late_by=spec.late_by, window=window, top=options.top)


if __name__ == "__main__":
    main("trending_hashtags", fold_of)
