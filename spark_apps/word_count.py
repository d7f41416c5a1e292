"""word_count: lines of text -> how often each word came, since the beginning and in each micro-batch.

Source: a TCP socket, as `nc -lk 9999` serves one (or the topic `lines`, which can be read again). Transform: the word
step. Sinks: the live view and the console; with a Kafka sink, each word's new count (key: the word).
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from millrace.catalog import StreamSpec
from spark_apps.runtime.app import main, options_of
from spark_apps.transforms.word_fold import WordFold


class Options(BaseModel):
    """`options` of the stream in catalog/streams.yaml."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    max_words: int = Field(default=100_000, ge=1, le=1_000_000)
    """Of more different words, those not seen for longest are forgotten."""
    shown: int = Field(default=10, ge=1, le=1000)
    """How many of the most frequent words are shown."""


def fold_of(spec: StreamSpec) -> WordFold:
    """The transform with the rules that the catalog gives it."""
    options = options_of(spec, Options)
    return WordFold(most=options.max_words, shown=options.shown, changes=spec.writes("kafka"))


if __name__ == "__main__":
    main("word_count", fold_of)
