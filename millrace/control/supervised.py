"""What control keeps running: the streams of the catalog, and its feeds.

Both have a name under `control/`, a heartbeat, a time to stop within and a shift; desired state, epochs, history,
orders and decisions are the same for both. What differs is here, and where a process begins.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from pydantic import ConfigDict, Field

from millrace.catalog import Catalog, Duration, FeedSpec, StreamRetention, StreamSpec
from millrace.control.health import LATE_START, Thresholds, silent_after
from millrace.control.hidden import without_secrets
from millrace.supervision import Rules, WithRules

FEED_PREFIX = "feed-"
"""Before a feed's name wherever streams and feeds are side by side: no stream can have a hyphen in its name."""
FEED_STALLED_AFTER = timedelta(minutes=2)
FEED_STARTS_WITHIN = timedelta(seconds=90)
"""It waits up to a minute for Kafka, and then as long as reading a long topic's end takes."""


class SupervisedFeed(WithRules):
    """A feed as control has it: `name` with the prefix; what of its options must stay secret is hidden."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    name: str = Field(pattern=rf"^{FEED_PREFIX}[a-z][a-z0-9_]*$")
    kind: str
    topic: str
    options: dict[str, Any] = Field(default_factory=dict)
    heartbeat: Duration = FeedSpec.model_fields["heartbeat"].default
    stop_within: Duration = FeedSpec.model_fields["stop_within"].default
    shift: Duration = FeedSpec.model_fields["shift"].default

    @classmethod
    def of(cls, spec: FeedSpec) -> SupervisedFeed:
        kept = {name: getattr(spec, name) for name in cls.model_fields}
        return cls(**kept | {"name": feed_name(spec.name), "options": without_secrets(spec.options)})

    @property
    def feed(self) -> str:
        """Its name in the catalog."""
        return self.name.removeprefix(FEED_PREFIX)

    @property
    def retention(self) -> StreamRetention:
        """How long its traces are kept: as those of streams are, unless told otherwise."""
        return StreamRetention()

    @property
    def description(self) -> str:
        return f"{self.kind} to {self.topic}"


Supervised = StreamSpec | SupervisedFeed


def feed_name(feed: str) -> str:
    """The name under `control/`, of the program, its log and its directory of a feed of the catalog."""
    return f"{FEED_PREFIX}{feed}"


def dag_of(name: str) -> str:
    """The DAG that supervises it."""
    return f"feed__{name.removeprefix(FEED_PREFIX)}" if is_feed(name) else f"stream__{name}"


def is_feed(name: str) -> bool:
    return name.startswith(FEED_PREFIX)


def supervised(catalog: Catalog, more: Iterable[FeedSpec] = ()) -> dict[str, Supervised]:
    """Everything of the catalog, and feeds that are not in it, by the name that control knows it by.

    Of feeds with the same name the last one stands."""
    found: dict[str, Supervised] = dict(catalog.streams)
    for spec in (*catalog.feeds.values(), *more):
        found[feed_name(spec.name)] = SupervisedFeed.of(spec)
    return found


def named(known: Mapping[str, Supervised], name: str) -> str:
    """The name that control knows, from what a person types: a feed may be called as in feeds.yaml."""
    return feed_name(name) if name not in known and feed_name(name) in known else name


def spec_of(config: Mapping[str, Any]) -> Supervised:
    """What a desired state's `config` stands for. Raises pydantic's ValidationError, a ValueError."""
    if is_feed(str(config.get("name"))):
        return SupervisedFeed.model_validate(config)
    return StreamSpec.model_validate(config)


def thresholds_for(spec: Supervised, rules: Rules | None = None) -> Thresholds:
    """The thresholds that fit its own pace, unless the catalog names others (`rules`, by default those of `spec`)."""
    if isinstance(spec, StreamSpec):
        return Thresholds.of(spec, rules)
    said = (rules or spec.rules).health
    start_within = said.start_within or FEED_STARTS_WITHIN
    return Thresholds(
        silent_after=said.silent_after or silent_after(spec.heartbeat),
        start_within=start_within,
        stop_within=spec.stop_within,
        stalled_after=said.stalled_after or FEED_STALLED_AFTER,
        down_after=said.down_after or start_within + LATE_START,
        recovered_after=said.recovered_after or Thresholds.recovered_after,
    )
