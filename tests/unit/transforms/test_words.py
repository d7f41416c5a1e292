"""The word step against a Counter, under garbage, any script, any micro-batch boundary, and a bounded state."""

from __future__ import annotations

from collections import Counter, OrderedDict
from datetime import timedelta
from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spark_apps.runtime.keyed_fold import RECORDS
from spark_apps.transforms.frame_pack import StateSchemaError
from spark_apps.transforms.order_fold import OrderFold
from spark_apps.transforms.word_fold import WordFold
from tests.oracles.words import words_of

FOLD = WordFold()
WORDS = st.sampled_from(
    ["a", "A", "b", "#tag", "서울", "서울,", "é", "e\u0301", "[bold]", "x" * 500, "x" * 501]
)
SPACES = st.sampled_from(
    [" ", "  ", "\t", "\u3000", "\x0b", "\x1c", "\x1f", "\x85", "\xa0", "\u2028", "\u200b", "\r"]
)
LINES = st.one_of(
    st.lists(st.one_of(WORDS, SPACES), max_size=12).map("".join).map(str.encode),
    st.text(max_size=40).map(str.encode),
    st.binary(max_size=12),
    st.none(),
)


def records(lines: list[bytes | None], first: int = 0) -> pl.DataFrame:
    rows = [(None, line, 0, first + number, 1_772_359_200_000) for number, line in enumerate(lines)]
    return pl.DataFrame(rows, schema=RECORDS, orient="row")


class Counting:
    """A stream: batches in, everything that came out."""

    def __init__(self, fold: WordFold = FOLD) -> None:
        self.fold, self.state = fold, fold.empty()
        self.rejected: list[tuple[int, str]] = []
        self.read = 0

    def take(self, lines: list[bytes | None]) -> dict[str, object]:
        done = self.fold.fold(self.state, records(lines, self.read))
        self.state = self.fold.unpack(self.fold.pack(done.state))
        assert self.fold.pack(self.state) == self.fold.pack(done.state)
        self.rejected += [(self.read + row, reason) for row, reason, _ in done.rejected.iter_rows()]
        self.read += len(lines)
        assert done.live is not None
        return dict(done.live)

    @property
    def counts(self) -> Counter[str]:
        return Counter(dict(self.state.counts.select("word", "count").rows()))


@settings(max_examples=200, deadline=None)
@given(st.lists(LINES, max_size=30), st.lists(st.integers(0, 30), max_size=5))
def test_any_lines_cut_anywhere_equal_a_counter(lines: list[bytes | None], cuts: list[int]) -> None:
    stream, truth = Counting(), words_of(lines)
    for begin, end in pairwise([0, *sorted(cut for cut in cuts if cut < len(lines)), len(lines)]):
        view = stream.take(lines[begin:end])
        batch = words_of(lines[begin:end])
        assert view["batch_counts"] == rows(batch.most_frequent(10))
        assert (view["batch_lines"], view["batch_words"]) == (
            batch.lines - len(batch.rejected),
            batch.running.total(),
        )
    assert stream.counts == truth.running
    assert stream.rejected == truth.rejected
    assert (stream.state.lines, stream.state.words) == (truth.lines, truth.running.total())
    assert stream.state.forgotten == 0
    assert view["running_counts"] == rows(truth.most_frequent(10))


def rows(counts: list[tuple[str, int]]) -> list[dict[str, object]]:
    return [{"word": word, "count": count} for word, count in counts]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.sampled_from("abcdefghij"), max_size=4), max_size=40), st.integers(1, 6))
def test_of_more_words_those_seen_last_are_kept(lines: list[list[str]], most: int) -> None:
    stream = Counting(WordFold(most=most))
    known: OrderedDict[str, int] = OrderedDict()  # the one that was seen longest ago comes first
    forgotten = 0
    for words in lines:  # one line per batch
        stream.take([" ".join(words).encode()])
        for word in sorted(set(words), reverse=True):  # within a line, the first in the alphabet is kept
            known[word] = known.pop(word, 0) + words.count(word)
        while len(known) > most:
            known.popitem(last=False)
            forgotten += 1
    assert stream.counts == Counter(known)
    assert stream.state.forgotten == forgotten
    assert stream.state.words == sum(map(len, lines))


def test_the_state_stays_bounded_whatever_comes() -> None:
    stream = Counting(WordFold(most=1000))
    sizes = []
    for batch in range(30):
        stream.take([f"{batch} {number} {batch * 500 + number}".encode() for number in range(500)])
        sizes.append(len(stream.fold.pack(stream.state)))
    assert stream.state.counts.height == 1000
    assert max(sizes[3:]) < 1.2 * sizes[2]


def test_a_view() -> None:
    assert Counting().take([b"to be or  not to be", b"", b"\xff"]) == {
        "lines": 3,
        "words": 6,
        "different_words": 4,
        "forgotten_words": 0,
        "batch_lines": 2,
        "batch_words": 6,
        "running_counts": rows([("be", 2), ("to", 2), ("not", 1), ("or", 1)]),
        "batch_counts": rows([("be", 2), ("to", 2), ("not", 1), ("or", 1)]),
    }


def test_a_topic_gets_the_new_count_of_each_word_of_a_batch() -> None:
    fold = WordFold(changes=True)
    first = fold.fold(fold.empty(), records([b"b a b"]))
    assert list(first.messages) == [("a", '{"count": 1}'), ("b", '{"count": 2}')]
    assert list(fold.fold(first.state, records([b"c b"], 1)).messages) == [
        ("b", '{"count": 3}'),
        ("c", '{"count": 1}'),
    ]
    assert list(FOLD.fold(FOLD.empty(), records([b"a"])).messages) == []


def test_a_state_of_another_app_is_refused_in_words() -> None:
    orders = OrderFold(late_by=timedelta(hours=1))
    with pytest.raises(StateSchemaError, match="another app's"):
        FOLD.unpack(orders.pack(orders.empty()))
