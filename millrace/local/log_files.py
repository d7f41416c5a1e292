"""Finding, showing and following the logs of a home."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from millrace.control.supervised import feed_name
from millrace.feeds.choice import DEFAULT
from millrace.local.choices import FEED, read_choices
from millrace.local.errors import StackError
from millrace.local.programs import log_dir


def log_names(home: Path) -> list[str]:
    """What can be asked for."""
    return sorted(path.stem for path in log_dir(home).glob("*.log"))


def log_path(home: Path, name: str) -> Path:
    """The log of a program, or of a stream or a feed by its own name; `feed` is the one that FEED names.

    Raises StackError naming those there are.
    """
    if name == "feed":
        name = feed_name(read_choices(home).get(FEED, DEFAULT).partition(":")[0])
    for stem in (name, f"stream-{name}", feed_name(name)):
        if (path := log_dir(home) / f"{stem}.log").is_file() and "/" not in name:
            return path
    there = ", ".join(log_names(home)) or "none yet: `millrace up` comes first"
    raise StackError(f"there is no log of {name!r}; there are: {there}")


def last_lines(path: Path, count: int) -> list[str]:
    """The last lines, each with its line end."""
    with path.open(encoding="utf-8", errors="replace") as file:
        return list(deque(file, maxlen=count))


def follow(path: Path, go_on: Callable[[], bool] = lambda: True, pause: float = 0.3) -> Iterator[str]:
    """Lines as they are written from now on, also after the file was rotated; until `go_on` is false."""
    file: IO[str] = path.open(encoding="utf-8", errors="replace")
    try:
        file.seek(0, 2)
        while go_on():
            if line := file.readline():
                yield line
                continue
            if _replaced(file, path):
                file.close()
                file = path.open(encoding="utf-8", errors="replace")
                continue
            time.sleep(pause)
    finally:
        file.close()


def _replaced(file: IO[str], path: Path) -> bool:
    try:
        found = path.stat()
    except FileNotFoundError:
        return False
    import os

    own = os.fstat(file.fileno())
    return found.st_ino != own.st_ino or found.st_size < file.tell()
