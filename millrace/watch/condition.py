"""What there is to say about a live view besides what is in it: not there yet, old, its stream down. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Literal

from millrace.control.desired import DesiredState
from millrace.control.health import MOVING, in_words
from millrace.control.live import LiveView
from millrace.control.view import StreamView

OLD_AFTER = timedelta(seconds=15)
"""A view is written with every micro-batch, some seconds apart while posts come."""

_BY_HAND = DesiredState(
    state="running", spec_revision=1, config={}, who="", why="", at=datetime(1970, 1, 1, tzinfo=UTC)
)
"""A driver that somebody runs by hand has no desired state; that it should run is plain."""


@dataclass(frozen=True)
class Condition:
    """`words`: what is the matter and what to do; empty when all is well. `usable`: there is a view to show."""

    state: Literal["live", "waiting", "quiet", "down"]
    words: str
    usable: bool


def condition_of(
    live: LiveView | None, age: timedelta, stream: StreamView, command: str, feed: str
) -> Condition:
    """`age` of the view by the store's clock; `command`: how `millrace` is called here, `feed`: what would feed it."""
    health = replace(stream, desired=stream.desired or _BY_HAND).health
    usable = live is not None and live.content.get("as_of") is not None
    if stream.status is None:
        words = (
            f"{stream.stream} has never run: unpause the DAG stream__{stream.stream} in Airflow (`{command} up` "
            "starts Airflow), and it is deployed"
        )
        return Condition("down", words, usable)
    if health.state == "starting":
        return Condition("waiting", f"{stream.stream} is starting", usable)
    if health.state == "trying":
        return Condition("waiting", f"{stream.stream} is redeployed: {health.reason}", usable)
    if health.state not in MOVING:
        words = (
            f"{stream.stream} is {health.state}: {health.reason}. Look at `{command} status` and "
            f"`{command} logs {stream.stream}`"
        )
        return Condition("down", words, usable)
    if not usable:
        words = f"{stream.stream} runs, but nothing has come yet: {_ask(command, feed)}"
        return Condition("waiting", words, False)
    if age > OLD_AFTER:
        words = f"nothing has come for {in_words(age)}, this is how it was then: {_ask(command, feed)}"
        return Condition("quiet", words, True)
    return Condition("live", "", True)


def _ask(command: str, feed: str) -> str:
    return f"does `{command} status` show its feed? `{feed}` runs it by hand"
