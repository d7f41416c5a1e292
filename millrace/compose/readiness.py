"""Whether a stream does its work, as the last gate of the containers sees it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from millrace.catalog import Catalog
from millrace.control.health import MOVING
from millrace.control.view import StreamView


@dataclass(frozen=True)
class Sight:
    """One stream as it is now."""

    paused: bool
    """Its DAG."""
    view: StreamView
    hours: int
    """Published ones; counting may stop at the first."""


def left_alone(name: str, sight: Sight) -> str | None:
    """Why nothing is to be expected of a stream: a person paused or stopped it."""
    desired = sight.view.desired
    if desired is not None and desired.state == "stopped":
        return f"{name} stays stopped, as {desired.who} wanted ({desired.why})"
    if sight.paused:
        return f"{name}: its DAG stream__{name} is paused"
    return None


def not_working(name: str, sight: Sight, *, fed: bool) -> str | None:
    """What a stream lacks, None when it works. `fed`: whether a feed with a past brings it records to count."""
    if sight.view.status is None:
        return f"{name}: no driver has said a word yet; see the DAG stream__{name}"
    status, health = sight.view.status.status, sight.view.health
    if health.state not in MOVING:
        return f"{name} is {health}; what it printed: logs/stream-{name}.log in streamhost"
    # A driver that went on where another stopped may find nothing to count; but then nothing waits either.
    if fed and not status.records and not (sight.hours and status.lag == 0):
        return f"{name} runs, and has counted nothing: does its feed run? See logs/feed-….log in streamhost"
    return None


def has_a_past(catalog: Catalog, feed: str | None, begun: Collection[str]) -> bool:
    """Whether a feed that runs by itself brings hours that are over, which can be published at once."""
    return feed is not None and feed in begun and "history" in catalog.feeds[feed].options
