"""The lattice laws: without them, order and repeats would matter."""

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from millrace.publish.hour import HourState, join, newest_rows, same
from millrace.publish.version import Version
from tests.unit.publish.builders import rows

facts = st.tuples(
    st.sampled_from("abc"),
    st.integers(0, 3),
    st.builds(Version, st.integers(0, 2), st.integers(1, 2), st.integers(0, 2)),
)
states = st.builds(
    lambda facts, floor, seals, final: HourState(
        rows=newest_rows(rows(*facts), ["key"], floor)[0], replay_floor=floor, seals=seals, final=final
    ),
    st.lists(facts, max_size=6),
    st.integers(0, 2),
    st.dictionaries(st.sampled_from(["w1", "w2"]), st.integers(0, 9)),
    st.none() | st.integers(0, 9),
)


def joined(a: HourState, b: HourState) -> HourState:
    return join(a, b, ["key"])


@given(states, states, states)
def test_join_is_associative_commutative_and_idempotent(a: HourState, b: HourState, c: HourState) -> None:
    assert same(joined(a, b), joined(b, a))
    assert same(joined(joined(a, b), c), joined(a, joined(b, c)))
    assert same(joined(a, a), a)


@given(states, states)
def test_a_join_dominates_both_sides(a: HourState, b: HourState) -> None:
    top = joined(a, b)
    assert same(joined(a, top), top)
    assert same(joined(b, top), top)


@given(states)
def test_expired_absorbs_everything(a: HourState) -> None:
    expired = HourState(rows=a.rows.clear(), expired=True)
    assert same(joined(a, expired), joined(expired, a))
    assert joined(a, expired).expired
    assert joined(a, expired).rows.is_empty()


def test_two_contents_under_one_version_are_counted_and_the_greater_wins_in_any_order() -> None:
    version = Version(0, 1, 7)
    one, two = rows(("a", 1, version), ("a", 2, version)), rows(("a", 2, version), ("a", 1, version))
    for order in (one, two):
        newest, conflicts = newest_rows(order, ["key"])
        assert (newest["n"].to_list(), conflicts) == ([2], 1)


def test_exact_repeats_are_no_conflict() -> None:
    version = Version(0, 1, 7)
    newest, conflicts = newest_rows(rows(("a", 1, version), ("a", 1, version)), ["key"])
    assert (newest.height, conflicts) == (1, 0)


def test_status_in_words() -> None:
    version = Version(0, 1, 5).packed()
    state = HourState(rows=rows(("a", 1, version)))
    assert state.status == "provisional"
    assert HourState(rows=state.rows, final=version).status == "final"
    assert HourState(rows=state.rows, final=version - 1).status == "amending"
    assert HourState(rows=pl.DataFrame(state.rows.clear()), expired=True).status == "expired"
