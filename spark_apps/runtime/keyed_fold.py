"""What a transform with state must be, so that the runtime can carry it: pure, keyed, packable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import polars as pl

from spark_apps.runtime.clock import SourceClock

RECORDS = {
    "key": pl.Binary,
    "value": pl.Binary,
    "partition": pl.Int32,
    "offset": pl.Int64,
    "timestamp": pl.Int64,  # the broker's, epoch milliseconds UTC
}
"""Kafka records as a fold gets them, in order of partition and offset."""


@dataclass(frozen=True)
class Folded:
    """The result of one fold.

    `facts`: rows of the dataset's columns, `window_start` their hour. `rejected`: row (number of the
    record), reason, detail. `clocks`: per source, for the watermark. `observations`: what was counted.
    """

    state: Any
    facts: pl.DataFrame
    rejected: pl.DataFrame
    clocks: Mapping[str, SourceClock]
    observations: int


class KeyedFold(Protocol):
    """A pure fold over the records of one bucket. Must be picklable; equal inputs give equal bytes."""

    def empty(self) -> Any:
        """The state before anything."""
        ...

    def fold(self, state: Any, records: pl.DataFrame) -> Folded:
        """Take in records (see RECORDS); a bad one is rejected and never raises."""
        ...

    def pack(self, state: Any) -> bytes:
        """A state as bytes."""
        ...

    def unpack(self, body: bytes) -> Any:
        """The inverse. Raises ValueError, in words, for a state of a newer schema."""
        ...
