"""What a check of a deployment found."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Level = Literal["fine", "warning", "error"]


@dataclass(frozen=True)
class Finding:
    """`says`: what was found, with the numbers; `do`: what to do about it, empty when nothing is to be done.

    An error is what makes the deployment fail or lie; a warning is what may, or what could not be looked at.
    """

    part: str
    level: Level
    says: str
    do: str = ""


def fine(part: str, says: str) -> Finding:
    return Finding(part, "fine", says)


def warning(part: str, says: str, do: str) -> Finding:
    return Finding(part, "warning", says, do)


def error(part: str, says: str, do: str) -> Finding:
    return Finding(part, "error", says, do)


def count(findings: Iterable[Finding], level: Level) -> int:
    return sum(one.level == level for one in findings)
