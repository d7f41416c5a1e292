"""user_activity: posts -> what every user does and how they feel: in all, in a sliding window, and per hour.

Source: Kafka topic `posts` (docs/schemas.md). Transform: the exact user step; moods from a lexicon of words and emoji.
Sinks: facts of dataset `user_hourly` in landing/; the most active users and the top movers in the live view.
"""

from __future__ import annotations

from datetime import timedelta

from pydantic import BaseModel, ConfigDict, Field, model_validator

from millrace.catalog import Duration, StreamSpec
from spark_apps.runtime.app import main, options_of
from spark_apps.transforms.sliding_window import SlidingWindow
from spark_apps.transforms.user_fold import UserFold
from spark_apps.transforms.users import MOOD_UNITS, UserRules


class Options(BaseModel):
    """`options` of the stream in catalog/streams.yaml."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    window: Duration = timedelta(minutes=1)
    slide: Duration = timedelta(seconds=2)
    alpha: float = Field(default=0.3, ge=0.000001, le=1)
    """How much of a new post is in a mood: 1 is the last post alone."""
    expire_after: Duration = timedelta(hours=1)
    """A user without a post for longer begins anew."""
    top: int = Field(default=10, ge=1, le=1000)

    @model_validator(mode="after")
    def _agree(self) -> Options:
        SlidingWindow.of(self.window, self.slide)
        if self.expire_after < self.window + self.slide:
            raise ValueError(
                "expire_after must be at least window + slide: users of the window must be known"
            )
        return self


def fold_of(spec: StreamSpec) -> UserFold:
    """The transform with the rules that the catalog gives it."""
    options = options_of(spec, Options)
    rules = UserRules(
        late_by=int(spec.late_by.total_seconds()),
        window=SlidingWindow.of(options.window, options.slide),
        alpha=round(options.alpha * MOOD_UNITS),
        expire_after=options.expire_after // timedelta(milliseconds=1),
    )
    return UserFold(rules, options.top)


if __name__ == "__main__":
    main("user_activity", fold_of)
