"""Word counts as a fold over lines: what a page, a console or a reader of a topic is told after each micro-batch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import polars as pl

from spark_apps.runtime.keyed_fold import Folded
from spark_apps.transforms.frame_pack import pack_frames, unpack_frames
from spark_apps.transforms.words import COUNTS, WordState, WordStep, most_frequent, step

STATE_SCHEMA = 1
TOTALS = {"lines": pl.Int64, "words": pl.Int64, "forgotten": pl.Int64}


@dataclass(frozen=True)
class WordFold:
    """The word step behind the runtime's interface.

    `most`: how many different words are kept. `shown`: how many rows the view has. `changes`: whether the new
    count of every word of a batch is sent on (key: the word), for a Kafka sink.
    """

    most: int = 100_000
    shown: int = 10
    changes: bool = False

    @property
    def is_divisible(self) -> bool:
        return False  # the view is over all words

    @property
    def lookback(self) -> timedelta | None:
        return None  # words are counted since the beginning

    def empty(self) -> WordState:
        return WordState()

    def fold(self, state: WordState, records: pl.DataFrame) -> Folded:
        done = step(state, records["value"], most=self.most)
        return Folded(
            state=done.state,
            facts=pl.DataFrame(),
            rejected=done.rejected,
            clocks={},  # a line has no time of its own
            observations=done.words,
            messages=_changes(done) if self.changes else (),
            live=_view(done, self.shown),
        )

    def pack(self, state: WordState) -> bytes:
        totals = pl.DataFrame({name: [getattr(state, name)] for name in TOTALS}, schema=TOTALS)
        return pack_frames("words", STATE_SCHEMA, {"counts": state.counts, "totals": totals})

    def unpack(self, body: bytes) -> WordState:
        frames = unpack_frames(body, "words", STATE_SCHEMA, {"counts": COUNTS, "totals": TOTALS})
        return WordState(frames["counts"], **frames["totals"].row(0, named=True))


def _view(done: WordStep, shown: int) -> dict[str, Any]:
    """Totals since the beginning, and the most frequent words of all and of the batch; see docs/schemas.md."""
    return {
        "lines": done.state.lines,
        "words": done.state.words,
        "different_words": done.state.counts.height,
        "forgotten_words": done.state.forgotten,
        "batch_lines": done.lines,
        "batch_words": done.words,
        "running_counts": most_frequent(done.state.counts, shown).to_dicts(),
        "batch_counts": most_frequent(done.batch, shown).to_dicts(),
    }


def _changes(done: WordStep) -> list[tuple[str, str]]:
    """The running count of each word of the batch; of one that was forgotten at once, what the batch had."""
    counts = done.batch.join(done.state.counts, on="word", how="left", maintain_order="left")
    return [
        (word, json.dumps({"count": running if running is not None else count}))
        for word, count, running in counts.select("word", "count", "count_right").iter_rows()
    ]
