"""How often the stream host may start a driver by itself: a few times, then the matter is Airflow's.

supervisord restarts at once, for ever, what exits after `startsecs`; and before `startsecs` it does not
look at the exit code at all. So `startsecs` is 0 and the bound is here, where a driver's life begins.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

WINDOW = timedelta(minutes=10)
MOST_LIVES = 6
"""The ordered start and five restarts within the window."""
MOST_LIVES_OF_A_RETRY = 2
"""When Airflow already tries again after a failed start, its back-off is what counts."""
DELAYS = (0, 0, 2, 4, 8, 16)
"""Seconds before each of those lives: the first restart at once, since most crashes are single."""


@dataclass(frozen=True)
class Lives:
    """The lives of a driver on this host since Airflow last ordered a start; times by the host's clock."""

    order: str
    """Names the order; another one begins to count anew."""
    begun: tuple[datetime, ...] = ()


def next_life(
    lives: Lives | None, order: str, now: datetime, most: int = MOST_LIVES
) -> tuple[Lives, float | None]:
    """The record with one more life, and the seconds to wait before it; None when it must not begin."""
    recent: tuple[datetime, ...] = ()
    if lives is not None and lives.order == order:
        recent = tuple(begun for begun in lives.begun if now - begun < WINDOW)
    if len(recent) >= most:
        return Lives(order, recent), None
    return Lives(order, (*recent, now)), float(DELAYS[len(recent)])


def read_lives(path: Path) -> Lives | None:
    """The record, or None when there is none that can be read: then counting begins anew."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return Lives(content["order"], tuple(datetime.fromisoformat(begun) for begun in content["begun"]))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def write_lives(path: Path, lives: Lives) -> None:
    content = {"order": lives.order, "begun": [begun.isoformat() for begun in lives.begun]}
    path.write_text(json.dumps(content), encoding="utf-8")
