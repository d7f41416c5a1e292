"""The user step against a plain recount, under repeats, late posts, several sources, garbage and any cut."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.catalog import CatalogError, load_catalog
from millrace.settings import PROJECT_ROOT
from spark_apps.runtime.clock import as_text
from spark_apps.transforms.sentiment import LOOKED_AT, score
from spark_apps.transforms.sliding_window import SlidingWindow
from spark_apps.transforms.user_fold import UserFold
from spark_apps.transforms.users import UserRules
from spark_apps.user_activity import fold_of
from tests.oracles.posts import Posts, Record
from tests.oracles.users import felt_by, lists_of, users_by_hour
from tests.post_records import START, histories, pieces, post, records

LATE_BY = 600
STEPS = (0, 1, 2_000, 20_000, 599_000, 1_200_000, 3_599_999, 3_600_001)
LATE = (1, 2_000, 30_000, 599_999, 600_000, 600_001, -299_000, -300_001)


def folding(
    alpha: float = 0.3, window: int = 60_000, slide: int = 2_000, expire: int = 3_600_000
) -> UserFold:
    return UserFold(UserRules(LATE_BY, SlidingWindow(window, slide), round(alpha * 1_000_000), expire), top=3)


class Folding:
    """A stream: batches in, everything that came out."""

    def __init__(self, fold: UserFold) -> None:
        self.fold, self.state = fold, fold.empty()
        self.rows: dict[tuple[str, str, int], tuple[int, float, float, int]] = {}
        self.rejected = 0

    def take(self, batch: list[Record], first: int):
        done = self.fold.fold(self.state, records(batch, first))
        body = self.fold.pack(done.state)
        self.state = self.fold.unpack(body)
        assert self.fold.pack(self.state) == body
        for source, user, start, _, requests, mean, mood, last in done.facts.iter_rows():
            key = (source, user, int(start.timestamp()) // 3600)
            self.rows[key] = (requests, mean, mood, round(last.timestamp() * 1000))
        self.rejected += done.rejected.height
        return done


@settings(max_examples=100, deadline=None)
@given(
    histories(STEPS, LATE),
    st.sampled_from([0.1, 0.3, 1.0]),
    st.sampled_from([(60_000, 2_000), (8_000, 2_000), (600_000, 7_000)]),
    st.sampled_from([700_000, 3_600_000]),
)
def test_any_history_cut_anywhere_equals_a_recount(history, alpha, span, expire):
    stream, book = Folding(folding(alpha, *span, expire)), Posts(LATE_BY)
    for first, batch in pieces(history):
        live = stream.take(batch, first).live
        for record in batch:
            book.add(*record)
        users, felt = felt_by(book, alpha=alpha, expire_after=expire)
        newest = book.newest_at
        assert live["as_of"] == as_text(newest)
        end = newest - newest % span[1] if newest is not None else 0
        active, moved, count = lists_of(users, felt, begin=end - span[0], end=end, at_most=3)
        assert (live["most_active"], live["top_movers"], live["users"]) == (active, moved, count)
        held = {(source, user): rest for source, user, *rest in stream.state.users.iter_rows()}
        for user, known in users.items():
            if known.last_at + expire >= book.newest[user[0]] - LATE_BY * 1000:
                assert held.pop(user) == [known.requests, known.mood, known.last_at]
        assert held == {}
    assert stream.rows == users_by_hour(felt_by(book, alpha=alpha, expire_after=expire)[1])
    assert stream.rejected == len(book.rejected)


def test_a_mood_goes_a_part_of_the_way_to_each_post():
    stream = Folding(folding(alpha=0.5))
    cheerful, cross = score("I love this 😍"), score("what a terrible day 😡")
    assert (cheerful, cross) == (8271, -4767)
    batch = [
        (*post(START, "1", text="I love this 😍"), START),
        (*post(START + 500, "2", text="what a terrible day 😡"), START + 500),
        (*post(START + 2_000, "3", "bob", "on my way"), START + 2_000),
    ]
    live = stream.take(batch, 0).live
    assert live["top_movers"] == [
        {"source": "demo", "user_id": "ann", "change": -0.031575, "mood": -0.031575}
    ]
    assert live["most_active"] == [
        {"source": "demo", "user_id": "ann", "requests": 2, "total": 2, "mood": -0.031575}
    ]


def test_a_mood_is_rounded_to_the_nearest_millionth():
    stream, book = Folding(folding()), Posts(LATE_BY)
    batch = [
        (*post(START + n, f"{n}", text=("I love this 😍", "so cross", "on my way")[n % 3]), START)
        for n in range(40)
    ]
    for record in batch:
        book.add(*record)
    stream.take(batch, 0)
    users, felt = felt_by(book, alpha=0.3, expire_after=3_600_000)
    assert stream.state.users["mood"].to_list() == [users["demo", "ann"].mood]
    assert stream.state.panes["change"].sum() == sum(one.change for one in felt)
    third = 121_583.7  # of the first posts alone: 0.3 * (827,100 - 421,821)
    alone = Folding(folding())
    alone.take([(*post(START + n, f"{n}", text="I love this 😍"), START) for n in range(3)], 0)
    assert alone.state.users["mood"].to_list() == [421_821 + round(third)]


def test_a_user_who_comes_back_after_the_expiry_begins_anew():
    for gap, total in ((3_600_000, 2), (3_600_001, 1)):
        stream = Folding(folding())
        stream.take([(*post(START, "1", text="great"), START)], 0)
        later = START + gap
        stream.take([(*post(later, "2", text="great"), later)], 1)
        ((_, _, requests, mood, last_at),) = stream.state.users.iter_rows()
        assert (requests, last_at) == (total, later)
        assert (mood > 200_000) == (total == 2)


def test_what_is_carried_is_bounded_by_the_active_users():
    stream = Folding(folding())
    for minute in range(0, 600, 5):
        at = START + minute * 60_000
        stream.take([(*post(at + n, f"{minute}-{n}", f"u{minute}-{n}"), at + n) for n in range(10)], 0)
    assert stream.state.users.height <= 10 * (70 // 5 + 1)
    assert stream.state.panes.height <= 10
    assert stream.state.seen.height <= 30
    assert stream.state.hours.height <= 2 * 120


def test_a_text_is_scored_once_and_a_long_one_by_its_beginning():
    score.cache_clear()
    stream = Folding(folding())
    stream.take([(*post(START, f"{n}", text="what a wonderful day"), START) for n in range(50)], 0)
    assert (score.cache_info().misses, score.cache_info().hits) == (1, 49)
    assert score("so " * LOOKED_AT + "great") == 0
    assert score("great " + "so " * 1_000_000) > 0


def test_the_catalog_gives_the_rules():
    spec = load_catalog(PROJECT_ROOT / "catalog").streams["user_activity"]
    rules = UserRules(LATE_BY, SlidingWindow(60_000, 2_000), 300_000, 3_600_000)
    assert fold_of(spec) == UserFold(rules, 10)
    for options, words in [
        ({"alpha": 0}, "options.alpha: Input should be greater than or equal to"),
        ({"expire_after": "1min"}, "expire_after must be at least window"),
        ({"slide": "0s"}, "at least 1ms"),
    ]:
        with pytest.raises(CatalogError, match=words):
            fold_of(spec.model_copy(update={"options": options}))
    assert spec.late_by == timedelta(seconds=LATE_BY)
