"""Many small requests at once. How they run is a parameter, so that a simulation can run them one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")

AT_ONCE = 16
"""One request after the other cost 118 ms for a hundred objects on a store next door."""


class SideBySide(Protocol):
    """Does something for every item, in any order, and returns the answers in the items' order."""

    def __call__(self, do: Callable[[Item], Answer], items: Sequence[Item]) -> list[Answer]:
        """All answers. Raises what the first item that failed raised, after all have been tried."""
        ...


def in_threads(do: Callable[[Item], Answer], items: Sequence[Item]) -> list[Answer]:
    """In threads of this process: right for requests, which wait more than they work."""
    if len(items) < 2:
        return [do(item) for item in items]
    with ThreadPoolExecutor(max_workers=min(AT_ONCE, len(items))) as pool:
        return list(pool.map(do, items))
