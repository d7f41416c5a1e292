"""A live view as a bar chart, whatever draws it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Move = Literal["new", "up", "down", "same"]


class NotATop(ValueError):
    """The live view is not one of the most used of something; the message says of which stream."""


@dataclass(frozen=True)
class Bar:
    """`move`: where it went since the chart before; `same` in the first one."""

    label: str
    count: int
    move: Move = "same"


@dataclass(frozen=True)
class Chart:
    """`span`: the window in words, such as `20 s up to 22:30:00 UTC`; empty before the first post."""

    title: str
    span: str
    bars: tuple[Bar, ...]
    places: int = 10
    """How many bars there is room for: a chart of fewer is not drawn taller."""

    @property
    def largest(self) -> int:
        return max((bar.count for bar in self.bars), default=0)

    def says_the_same(self, other: Chart) -> bool:
        """Whether they differ in nothing but what moved."""
        counts = [(bar.label, bar.count) for bar in self.bars]
        return self.span == other.span and counts == [(bar.label, bar.count) for bar in other.bars]


@dataclass(frozen=True)
class Ranking:
    """Which list of a stream's live view is drawn: its name, and the names in its rows (docs/schemas.md)."""

    stream: str
    title: str
    rows: str
    label: str
    count: str

    def chart(self, content: Mapping[str, Any], before: Chart | None = None) -> Chart:
        """The chart of a view's content. Raises NotATop."""
        try:
            counts = [(str(row[self.label]), int(row[self.count])) for row in content[self.rows]]
            window, end = content["window"], content["window_end"]
        except (KeyError, TypeError, ValueError) as error:
            raise NotATop(
                f"the live view is not one of {self.stream}: {error!r} is missing or wrong in it"
            ) from None
        was = {bar.label: place for place, bar in enumerate(before.bars)} if before is not None else None
        bars = tuple(
            Bar(label, count, _move(was, label, place)) for place, (label, count) in enumerate(counts)
        )
        span = f"{window} up to {_moment(str(end))}" if end is not None else ""
        return Chart(self.title, span, bars, places=max(10, len(bars)))


HASHTAGS = Ranking("trending_hashtags", "Trending hashtags", rows="top", label="tag", count="count")
USERS = Ranking("user_activity", "Most active users", rows="most_active", label="user_id", count="requests")


def printable(label: str) -> str:
    """A label without what would disturb a terminal or a line: control signs, line ends, marks of direction."""
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in label)


def _move(was: Mapping[str, int] | None, label: str, place: int) -> Move:
    if not was:
        return "same"
    if label not in was:
        return "new"
    return "same" if was[label] == place else "up" if was[label] > place else "down"


def _moment(text: str) -> str:
    """`2026-03-01T22:30:00.000Z` as `2026-03-01 22:30:00 UTC`; thousandths only where they say something."""
    return f"{text.removesuffix('Z').removesuffix('.000').replace('T', ' ')} UTC"
