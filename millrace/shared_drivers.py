"""Streams that share a driver: `driver: NAME` in the catalog, what they must agree on, what their process is given."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from millrace.catalog import StreamSpec

SAME = ("master", "spark_conf")
"""What belongs to a JVM, so that the streams in it cannot differ in it."""


class Disagreement(ValueError):
    """Streams that share a driver differ in what they must agree on; names the stream and the key."""


@dataclass(frozen=True)
class SharedDriver:
    """One process with one JVM, as the catalog's entries of its streams want it."""

    name: str
    streams: tuple[str, ...]
    driver_memory: str
    """The largest of its streams'."""
    master: str | None
    spark_conf: tuple[tuple[str, str], ...]
    stop_within: float
    """Seconds; the longest of its streams'."""


def shared_drivers(streams: Iterable[StreamSpec]) -> dict[str, SharedDriver]:
    """The shared drivers by name. Raises Disagreement."""
    members: dict[str, list[StreamSpec]] = {}
    for spec in sorted(streams, key=lambda one: one.name):
        if spec.driver is not None:
            members.setdefault(spec.driver, []).append(spec)
    return {name: _joined(name, specs) for name, specs in sorted(members.items())}


def _joined(name: str, specs: list[StreamSpec]) -> SharedDriver:
    first = specs[0]
    for spec in specs[1:]:
        for key in SAME:
            ours, theirs = getattr(spec, key), getattr(first, key)
            if ours != theirs:
                raise Disagreement(
                    f"{spec.name}.{key}: {ours!r}, but {first.name} has {theirs!r}, and both share the driver "
                    f"{name!r}, which is one JVM: write the same in both, or take `driver` out of one"
                )
    return SharedDriver(
        name,
        tuple(spec.name for spec in specs),
        max((spec.driver_memory for spec in specs), key=_megabytes),
        first.master,
        tuple(sorted(first.spark_conf.items())),
        max(spec.stop_within.total_seconds() for spec in specs),
    )


def _megabytes(memory: str) -> int:
    return int(memory[:-1]) * (1024 if memory.endswith("g") else 1)
