"""What a transform with state must be, so that the runtime can carry it: pure, keyed, packable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol, runtime_checkable

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

    `facts`: rows of the dataset's columns, `window_start` their hour; any frame when there is no dataset.
    `rejected`: row (number of the record), reason, detail. `clocks`: per source, for the watermark.
    `observations`: what was counted. `messages`: (key, value) for a Kafka sink. `live`: what a page or a console
    shows now: names to plain values, or to lists of rows; JSON can hold it.
    """

    state: Any
    facts: pl.DataFrame
    rejected: pl.DataFrame
    clocks: Mapping[str, SourceClock]
    observations: int
    messages: Sequence[tuple[str, str]] = ()
    live: Mapping[str, Any] | None = None


class KeyedFold(Protocol):
    """A pure fold over the records of one bucket. Must be picklable; equal inputs give equal bytes."""

    @property
    def is_divisible(self) -> bool:
        """Whether every key may be folded apart from the others, so that the state may have several buckets."""
        ...

    @property
    def lookback(self) -> timedelta | None:
        """How far before an hour its input begins; None when its facts need everything since the beginning."""
        ...

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


@runtime_checkable
class Preparing(Protocol):
    """A fold that can say something of each record apart, which is then done while the next ones are still read."""

    def prepare(self, records: pl.DataFrame) -> pl.DataFrame:
        """The same records (key, value and more) with further columns, which `fold` finds again. Pure; a row's
        columns are of that row alone, since records come in any portions and may be put in order afterwards."""
        ...


def prepared(fold: KeyedFold, records: pl.DataFrame) -> pl.DataFrame:
    """Records as a fold takes them: with what it says of each of them apart, if it does."""
    return fold.prepare(records) if isinstance(fold, Preparing) else records
