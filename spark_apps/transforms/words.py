"""Words of lines counted: since the beginning, and in each micro-batch.

A word is what white space separates, as Python's `str.split()` does it: capitals and punctuation are part of it, and
between two spaces there is no empty word. A line without words counts as a line. A line that is no UTF-8, has a word
of more than 500 characters, or is missing (a Kafka message without a value) is rejected whole.

The state is bounded: of more than `most` different words those are forgotten that have not been seen for longest,
and should one come again, it is counted anew. While none was forgotten, every count is exact.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import polars as pl

from spark_apps.transforms.event_time import rejections
from spark_apps.transforms.text import decoded

LONGEST_WORD = 500
"""Characters. With it a state of 100,000 words is bounded too; longer ones are rarely meant as words."""
COUNTS = {"word": pl.String, "count": pl.Int64, "last_line": pl.Int64}
BATCH = {"word": pl.String, "count": pl.Int64}
# polars' \s is Unicode's white space; Python takes the four separators before the space for some too.
_WORD = r"[^\s\x1c-\x1f]+"


@dataclass(frozen=True)
class WordState:
    """`counts`: word, how often, and in which line last (from 1). `forgotten`: how often a word was dropped."""

    counts: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=COUNTS))
    lines: int = 0
    words: int = 0
    forgotten: int = 0


@dataclass(frozen=True)
class WordStep:
    """`lines`, `words` and `batch` (BATCH, by word) are those of the micro-batch alone."""

    state: WordState
    lines: int
    words: int
    batch: pl.DataFrame
    rejected: pl.DataFrame


def step(state: WordState, values: pl.Series, *, most: int) -> WordStep:
    """Count lines (binary, in the order in which they came) on top of a state."""
    texts = decoded(values).alias("text")
    lines = pl.DataFrame(texts).with_row_index("row")
    words = lines.with_columns(word=pl.col("text").str.extract_all(_WORD)).explode("word")
    is_long = pl.col("word").str.len_chars() > LONGEST_WORD
    wrong = words.filter(pl.col("text").is_null() | is_long.fill_null(False))["row"].unique().sort()
    if wrong.len():
        words = words.filter(~pl.col("row").is_in(wrong.implode()))
    words = words.filter(pl.col("word").is_not_null())
    found = words.group_by("word").agg(
        count=pl.len().cast(pl.Int64), last_line=pl.col("row").max().cast(pl.Int64) + 1 + state.lines
    )
    counts, dropped = _bounded(_added(state.counts, found), most)
    counted = values.len() - wrong.len()
    return WordStep(
        state=replace(
            state,
            counts=counts,
            lines=state.lines + values.len(),
            words=state.words + words.height,
            forgotten=state.forgotten + dropped,
        ),
        lines=counted,
        words=words.height,
        batch=found.select(list(BATCH)).sort("word"),
        rejected=rejections((row, *_diagnosed(values[row])) for row in wrong),
    )


def most_frequent(counts: pl.DataFrame, limit: int) -> pl.DataFrame:
    """word, count: the most frequent words, ties in order of the word."""
    return counts.select(list(BATCH)).sort("count", "word", descending=[True, False]).head(limit)


def _added(counts: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    return (
        pl.concat([counts, found])
        .group_by("word")
        .agg(pl.col("count").sum(), pl.col("last_line").max())
        .sort("word")
    )


def _bounded(counts: pl.DataFrame, most: int) -> tuple[pl.DataFrame, int]:
    """The words seen last, in order of the word, and how many were dropped."""
    if counts.height <= most:
        return counts, 0
    kept = counts.sort("last_line", "word", descending=[True, False]).head(most)
    return kept.sort("word"), counts.height - most


def _diagnosed(value: bytes | None) -> tuple[str, str]:
    if value is None:
        return "no_value", "a message without a value is no line"
    try:
        value.decode()
    except UnicodeDecodeError as error:
        return "not_utf8", str(error)
    return "long_word", f"the line has a word of more than {LONGEST_WORD} characters"
