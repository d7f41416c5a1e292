"""The hashtag step against a plain recount, under repeats, late posts, several sources, garbage and any cut."""

from __future__ import annotations

from datetime import timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.catalog import CatalogError, load_catalog
from millrace.feeds.posts.envelope import post_message
from millrace.feeds.posts.model import Post
from millrace.feeds.posts.tweets import read_tweets
from millrace.settings import PROJECT_ROOT
from spark_apps.runtime.clock import as_text
from spark_apps.transforms.hashtag_fold import HashtagFold
from spark_apps.transforms.hashtags import panes_of, tops
from spark_apps.transforms.post_intake import take_in
from spark_apps.transforms.posts import parse_posts
from spark_apps.transforms.sliding_window import SlidingWindow
from spark_apps.trending_hashtags import fold_of
from tests.oracles.posts import Posts, Record, posts_of, tags_by_hour, top_tags
from tests.post_records import START, end, histories, pieces, post, records

LATE_BY = 600
TWEETS = PROJECT_ROOT.parent / "shared" / "data" / "tweets_mayweather_mcgregor_2017-08-27.csv"
STEPS = (0, 1, 250, 1_999, 2_000, 8_000, 20_000, 599_000)
LATE = (1, 999, 2_000, 19_999, 30_000, 599_999, 600_000, 600_001, -299_000, -300_001)
WINDOWS = [(20_000, 2_000), (8_000, 2_000), (5_000, 3_000), (2_000, 5_000), (1_000, 1_000), (1_500, 400)]


def seconds(milliseconds: int) -> timedelta:
    return timedelta(milliseconds=milliseconds)


def folding(length: int = 20_000, slide: int = 2_000, top: int = 10) -> HashtagFold:
    return HashtagFold(seconds(LATE_BY * 1000), SlidingWindow.of(seconds(length), seconds(slide)), top)


class Folding:
    """A stream: batches in, everything that came out."""

    def __init__(self, fold: HashtagFold) -> None:
        self.fold, self.state = fold, fold.empty()
        self.rows: dict[tuple[str, str, int], tuple[int, int]] = {}
        self.rejected: list[tuple[int, str]] = []
        self.counted = 0

    def take(self, batch: list[Record], first: int):
        done = self.fold.fold(self.state, records(batch, first))
        body = self.fold.pack(done.state)
        self.state = self.fold.unpack(body)
        assert self.fold.pack(self.state) == body
        for source, tag, start, _, posts, uses in done.facts.iter_rows():
            self.rows[source, tag, int(start.timestamp()) // 3600] = (posts, uses)
        self.rejected += [(first + row, reason) for row, reason, _ in done.rejected.iter_rows()]
        self.counted += done.observations
        return done


def told(rejected: list[tuple[int, str]]) -> list[tuple[int, str]]:
    kinds = {"future", "too_late", "conflicting_id"}
    return sorted((row, reason if reason in kinds else "malformed") for row, reason in rejected)


def shows(live, book: Posts, fold: HashtagFold) -> None:
    """The live view is the top of the newest window that is over, of all that was accepted so far."""
    newest = book.newest_at
    assert live["as_of"] == as_text(newest)
    if newest is None:
        assert live["top"] == []
        return
    window_end = newest - newest % fold.window.slide
    assert (live["window_start"], live["window_end"]) == (
        as_text(window_end - fold.window.length),
        as_text(window_end),
    )
    expected = top_tags(book, end=window_end, window=fold.window.length, at_most=fold.top)
    assert [(row["tag"], row["count"]) for row in live["top"]] == expected


@settings(max_examples=100, deadline=None)
@given(histories(STEPS, LATE), st.sampled_from(WINDOWS), st.sampled_from([1, 3, 10]))
def test_any_history_cut_anywhere_equals_a_recount(history, span, top):
    stream, book = Folding(folding(*span, top)), Posts(LATE_BY)
    for first, batch in pieces(history):
        done = stream.take(batch, first)
        for record in batch:
            book.add(*record)
        shows(done.live, book, stream.fold)
    assert stream.rows == tags_by_hour(book)
    assert told(stream.rejected) == sorted(book.rejected)
    assert stream.counted == len(book.accepted)


@settings(max_examples=60, deadline=None)
@given(histories(STEPS, LATE), st.sampled_from(WINDOWS))
def test_the_top_of_every_window_equals_a_recount(history, span):
    window = SlidingWindow(*span)
    batch, _ = history
    frame = records(batch)
    posts = parse_posts(frame["value"], frame["key"], frame["timestamp"]).posts
    fold = folding(*span)
    empty = fold.empty()
    fresh = take_in(empty.sources, empty.seen, posts, late_by=LATE_BY).fresh
    used = fresh.explode("tags").filter(pl.col("tags").is_not_null())
    panes = used.select(tag="tags", pane=window.pane_of(pl.col("posted_at")), uses=pl.lit(1, pl.Int64))
    found: dict[int, list[tuple[str, int]]] = {}
    for window_end, tag, count in tops(panes_of(panes), window, at_most=10).iter_rows():
        found.setdefault(window_end, []).append((tag, count))
    book = posts_of(batch, late_by=LATE_BY)
    ends = {
        window_end
        for post in book.accepted
        for window_end in range(
            post.at // window.slide * window.slide, post.at + window.length + 1, window.slide
        )
    }
    recount = {window_end: top_tags(book, end=window_end, window=window.length) for window_end in ends}
    assert found == {window_end: top for window_end, top in recount.items() if top}


def test_a_window_holds_its_beginning_and_not_its_end():
    # 8 s every 2 s: at the stroke of second 8, the window [0, 8) is over.
    begin = START // 8_000 * 8_000
    batch = [
        (*post(begin - 1, "1", tags=("#before",)), begin),
        (*post(begin, "2", tags=("#first",)), begin),
        (*post(begin + 7_999, "3", tags=("#last", "#last")), begin + 8_000),
        (*post(begin + 8_000, "4", tags=("#after",)), begin + 8_000),
    ]
    stream = Folding(folding(8_000, 2_000))
    live = stream.take(batch, 0).live
    assert live == {
        "as_of": as_text(begin + 8_000),
        "window": "8s",
        "slide": "2s",
        "window_start": as_text(begin),
        "window_end": as_text(begin + 8_000),
        "top": [{"tag": "#last", "count": 2}, {"tag": "#first", "count": 1}],
    }
    # One millisecond before its end it is not over, and what is shown is the one that ended 2 s earlier.
    assert Folding(folding(8_000, 2_000)).take(batch[:3], 0).live["top"] == [
        {"tag": "#before", "count": 1},
        {"tag": "#first", "count": 1},
    ]


def test_equally_used_tags_are_in_order_of_their_names_and_the_eleventh_is_not_shown():
    tags = tuple(f"#{letter}" for letter in "kjihgfedcba")
    batch = [(*post(START, tags=tags), START), (*post(START + 2_000, "2"), START + 2_000)]
    assert [row["tag"] for row in Folding(folding()).take(batch, 0).live["top"]] == sorted(tags)[:10]


def test_a_post_may_use_a_tag_several_times():
    stream = Folding(folding())
    stream.take([(*post(START, tags=("#a", "#a", "#b")), START), (*post(START, "2", tags=("#a",)), START)], 0)
    hour = START // 3_600_000
    assert stream.rows == {("demo", "#a", hour): (2, 3), ("demo", "#b", hour): (1, 1)}


def test_a_repeat_that_is_as_late_as_may_be_does_not_count_again():
    stream = Folding(folding())
    first = post(START, "1", tags=("#a",))
    later = START + LATE_BY * 1000
    stream.take([(*first, START), (*post(later, "2"), later)], 0)
    done = stream.take([(*first, later)], 2)
    assert (done.observations, done.facts.height, done.rejected.height) == (0, 0, 0)
    stream.take([(*post(later + 1, "3"), later)], 3)
    stream.take([(*first, later)], 4)
    assert stream.rejected == [(4, "too_late")]


def test_before_the_first_post_there_is_nothing_to_show():
    live = Folding(folding()).take([(b"x", b"nonsense", START)], 0).live
    assert (live["as_of"], live["window_end"], live["top"]) == (None, None, [])


def test_every_source_has_its_own_clock_and_ends_by_itself():
    fold = folding()
    old = START - 10 * 365 * 86_400_000
    batch = [
        (*post(START, "1", tags=("#now",)), START),
        (*post(old, "1", tags=("#then",), source="tweets"), START),
        (*end(old, "tweets"), START + 1),
        (*post(START + 1, "2"), START + 2),
    ]
    done = fold.fold(fold.empty(), records(batch))
    assert done.rejected.is_empty()
    clocks = {name: (clock.newest_at, clock.ended) for name, clock in done.clocks.items()}
    assert clocks == {"demo": (START // 1000, False), "tweets": (old // 1000, True)}
    assert done.facts["source"].to_list() == ["tweets", "demo"]


def test_what_is_carried_is_bounded_by_what_is_open():
    fold = folding()
    state = fold.empty()
    for minute in range(0, 600, 5):
        at = START + minute * 60_000
        batch = [(*post(at + n, f"{minute}-{n}", tags=(f"#{minute}_{n}",)), at + n) for n in range(10)]
        state = fold.fold(state, records(batch)).state
    assert state.seen.height <= 30
    assert state.panes.height <= 20
    assert state.hours.height <= 2 * 120


@pytest.mark.skipif(not TWEETS.exists(), reason="the recorded tweets are not there")
def test_the_recorded_tweets_give_their_known_counts():
    fold = folding()
    state, rows, views = fold.empty(), {}, 0
    batch = [
        (one.user_id.encode(), post_message(one), one.posted_at + 1)
        for one in read_tweets(TWEETS)
        if isinstance(one, Post)
    ]
    assert len(batch) == 12_118
    for first in range(0, len(batch), 1_700):
        done = fold.fold(state, records(batch[first : first + 1_700], first))
        state = done.state
        assert done.rejected.is_empty()
        rows |= {(tag, start): uses for _, tag, start, _, _, uses in done.facts.iter_rows()}
        views += len(done.live["top"])
    by_tag: dict[str, int] = {}
    for (tag, _), uses in rows.items():
        by_tag[tag] = by_tag.get(tag, 0) + uses
    assert sum(by_tag.values()) == 14_495
    assert len(by_tag) == 962
    assert max(by_tag.items(), key=lambda item: item[1]) == ("#mayweathervmcgregor", 4_593)
    assert views == 80


def test_the_catalog_says_which_window_it_is():
    spec = load_catalog(PROJECT_ROOT / "catalog").streams["trending_hashtags"]
    assert fold_of(spec) == folding(20_000, 2_000)
    other = spec.model_copy(update={"options": {"window": "8s", "slide": "2s", "top": 3}})
    assert fold_of(other) == folding(8_000, 2_000, 3)
    for options, words in [
        ({"window": "0s"}, "at least 1ms"),
        ({"window": "1h", "slide": "7ms"}, "make slide a divisor"),
        ({"windw": "8s"}, "options.windw is not a key"),
    ]:
        with pytest.raises(CatalogError, match=words):
            fold_of(spec.model_copy(update={"options": options}))
