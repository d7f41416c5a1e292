"""The last lines that a driver printed, for the log of the task that found it dead. Bounded, and read from the end."""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from pathlib import Path

MOST_LINES = 30
LONGEST_LINE = 400
TAIL_BYTES = 64 * 1024
LIFE_BEGINS = re.compile(r" millrace host: starting ")
"""What `millrace host exec` prints last before it becomes the driver."""
_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def last_lines(path: Path, *, started_again: bool = False, hide: Collection[str] = ()) -> list[str]:
    """Lines of the newest life in the log, or with `started_again` of the one before it.

    Empty when there is no such file here: the driver may be on another machine. Words in `hide` are blotted out,
    though no driver prints a secret.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - TAIL_BYTES, 0))
            tail = file.read()
    except OSError:
        return []
    lines = tail.decode("utf-8", errors="replace").splitlines()
    if size > TAIL_BYTES:
        lines = lines[1:]  # the first one is cut off
    if started_again:
        begins = [number for number, line in enumerate(lines) if LIFE_BEGINS.search(line)]
        lines = lines[: begins[-1]] if begins else []
    return [_shown(line, hide) for line in lines if line.strip()][-MOST_LINES:]


def _shown(line: str, hide: Collection[str]) -> str:
    line = _COLOURS.sub("", line)
    for secret in hide:
        if secret:
            line = line.replace(secret, "***")
    return line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]} …"
