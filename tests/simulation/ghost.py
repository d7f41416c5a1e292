"""What must be true, kept apart from the code that is tested: an hour as a plain value, joined by hand."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import NamedTuple

from millrace.publish.codec import decode_hour
from millrace.publish.hour import HourState
from millrace.publish.version import Version
from tests.simulation.dataset import DATASET

Row = tuple[int, int]
"""(packed version, n): compared in this order, so that a tie of versions goes to the greater content."""


class Ghost(NamedTuple):
    """An hour: replay floor, newest row per key, final, expired, rev."""

    floor: int = 0
    rows: frozenset[tuple[str, Row]] = frozenset()
    final: int = -1
    expired: bool = False
    rev: int = 0


NOTHING = Ghost()


@cache
def join(left: Ghost, right: Ghost) -> Ghost:
    if left.expired or right.expired:
        return Ghost(expired=True)
    floor = max(left.floor, right.floor)
    lowest = Version(floor, 0, 0).packed()
    best: dict[str, Row] = {}
    for key, row in (*left.rows, *right.rows):
        if row[0] >= lowest and best.get(key, (-1, 0)) < row:
            best[key] = row
    return Ghost(floor, frozenset(best.items()), max(left.final, right.final))


def join_all(ghosts: Iterable[Ghost]) -> Ghost:
    joined = NOTHING
    for ghost in ghosts:
        joined = join(joined, ghost)
    return joined


@cache
def holds(ghost: Ghost, facts: Ghost) -> bool:
    """Whether the facts (and floor) are in an hour already."""
    if ghost.expired:
        return True
    joined = join(ghost, facts)
    return joined.rows == ghost.rows and joined.floor == ghost.floor and not joined.expired


def of_state(state: HourState) -> Ghost:
    rows = frozenset(
        (key, (version, n)) for key, n, version in state.rows.select("key", "n", "version").rows()
    )
    final = -1 if state.final is None else state.final
    return Ghost(state.replay_floor, rows, final, state.expired, state.rev)


@cache
def of_published(body: bytes) -> Ghost:
    return of_state(decode_hour(body, DATASET, "published"))
