"""`step` against the brute-force oracle, and its rules one by one."""

from __future__ import annotations

import itertools

import polars as pl
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from spark_apps.transforms.polls import POLLS
from spark_apps.transforms.station_pack import pack, unpack
from spark_apps.transforms.stations import StationRules, StationState, step
from tests.oracles.stations import Key, Message, Row, movements

T0 = 1_700_000_000 // 3600 * 3600
RULES = StationRules(late_by=7200, max_gap=7200)


def table(messages: list[Message], first_row: int = 0) -> pl.DataFrame:
    return pl.DataFrame(
        [
            (
                first_row + number,
                message.system_id,
                message.observed_at,
                message.kafka_at * 1000,
                False,
                [{"station_id": station, "bikes": bikes} for station, bikes in message.stations],
            )
            for number, message in enumerate(messages)
        ],
        schema=POLLS,
        orient="row",
    )


def run(
    messages: list[Message], cuts: list[int], rules: StationRules, *, restarts: bool = True
) -> tuple[dict[Key, Row], list[tuple[int, str]]]:
    """Feed the messages in micro-batches cut at `cuts`; between them the state goes through its bytes."""
    state = StationState()
    facts: dict[Key, Row] = {}
    rejected: list[tuple[int, str]] = []
    edges = [0, *sorted(cuts), len(messages)]
    for start, end in itertools.pairwise(edges):
        polls = table(messages[start:end], first_row=start)
        done = step(state, polls, rules)
        again = step(state, polls, rules)
        assert pack(again.state) == pack(done.state), "a retry of a batch must reproduce it to the byte"
        assert again.facts.equals(done.facts)
        state = unpack(pack(done.state)) if restarts else done.state
        for row in done.facts.iter_rows():
            assert facts.get(row[:3]) != row[3:], "only rows that changed are facts"
            facts[row[:3]] = row[3:]
        rejected += [(row, reason) for row, reason, _ in done.rejected.iter_rows()]
    return facts, rejected


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Message], StationRules]:
    rules = StationRules(
        late_by=draw(st.sampled_from([0, 900, 3600, 7200])), max_gap=draw(st.sampled_from([600, 3600, 7200]))
    )
    strides = st.sampled_from(
        [0, 5, 60, 300, 1800, 3600, rules.max_gap, rules.max_gap + 1, 9000]
    ) | st.integers(1, 4000)
    delays = st.one_of(
        st.just(0),
        st.integers(0, max(1, rules.late_by)),
        st.sampled_from([rules.late_by, rules.late_by + 1, 20_000]),
    )
    clocks = {system: T0 + draw(st.integers(0, 7200)) for system in ("x", "y")}
    arrivals: list[tuple[int, Message]] = []
    for _ in range(draw(st.integers(1, 25))):
        system = draw(st.sampled_from(["x", "x", "y"]))
        clocks[system] += draw(strides)
        time = clocks[system]
        stations = draw(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 6)), max_size=4))
        arrival = time + draw(delays)
        stamp = arrival if draw(st.integers(0, 9)) else time - draw(st.sampled_from([300, 301, 9999]))
        arrivals.append((arrival, Message(system, time, stamp, tuple(stations))))
        if draw(st.integers(0, 5)) == 0:  # an exact repeat, or one that disagrees
            again = (
                tuple((name, draw(st.integers(0, 6))) for name, _ in stations)
                if draw(st.booleans())
                else tuple(stations)
            )
            arrivals.append((arrival + draw(delays), Message(system, time, stamp, again)))
    arrivals.sort(key=lambda pair: pair[0])
    return [message for _, message in arrivals], rules


@settings(max_examples=120)
@given(histories(), st.data())
def test_any_history_in_any_micro_batches_equals_the_oracle(
    history: tuple[list[Message], StationRules], data: st.DataObject
) -> None:
    messages, rules = history
    truth = movements(messages, late_by=rules.late_by, max_gap=rules.max_gap)
    cuts = data.draw(st.lists(st.integers(0, len(messages)), max_size=len(messages)))
    facts, rejected = run(messages, cuts, rules)
    event(f"rejected: {sorted({reason for _, reason in truth.rejected})}")
    event(f"gaps: {any(row[3] for row in truth.rows.values())}")
    assert facts == truth.rows
    assert rejected == truth.rejected


def one(*polls: tuple[int, int], system: str = "x") -> list[Message]:
    """Polls of one station as (seconds after T0, bikes), in order of arrival."""
    return [Message(system, T0 + time, T0 + 10**6, (("a", bikes),)) for time, bikes in polls]


def totals(messages: list[Message], rules: StationRules = RULES) -> dict[int, tuple[int, int, int, int]]:
    """Per hour after T0: rentals, returns, observations, gaps."""
    facts, _ = run(messages, list(range(len(messages))), rules)
    return {hour - T0 // 3600: row[:4] for (_, _, hour), row in facts.items()}


def test_a_first_observation_is_a_baseline_and_has_a_row_of_zeros() -> None:
    assert totals(one((0, 5))) == {0: (0, 0, 1, 0)}


def test_a_fall_is_rentals_and_a_rise_is_returns() -> None:
    assert totals(one((0, 5), (60, 3), (120, 7))) == {0: (2, 4, 3, 0)}


def test_a_movement_counts_in_the_hour_of_the_later_observation() -> None:
    assert totals(one((3599, 5), (3600, 3))) == {0: (0, 0, 1, 0), 1: (2, 0, 1, 0)}


def test_an_hour_without_observations_has_no_row() -> None:
    assert set(totals(one((0, 5), (2 * 3600, 5)))) == {0, 2}


@pytest.mark.parametrize(("silence", "expected"), [(7200, (2, 0, 1, 0)), (7201, (0, 0, 1, 1))])
def test_only_a_silence_longer_than_max_gap_starts_a_new_baseline(
    silence: int, expected: tuple[int, int, int, int]
) -> None:
    assert totals(one((0, 5), (silence, 3)))[2] == expected


def test_a_late_observation_moves_the_movement_to_its_own_hour() -> None:
    messages = one((3000, 5), (3700, 3))
    assert totals(messages)[1] == (2, 0, 1, 0)
    late = [*messages, *one((3500, 3))]
    assert totals(late) == {0: (2, 0, 2, 0), 1: (0, 0, 1, 0)}


def test_of_two_counts_for_one_moment_the_larger_wins_in_either_order() -> None:
    first = totals(one((0, 5), (60, 3), (60, 4)))
    assert first == totals(one((0, 5), (60, 4), (60, 3))) == {0: (1, 0, 2, 0)}


def test_two_late_points_around_a_point_that_changed_nothing() -> None:
    # The middle observation looks redundant until its neighbours arrive.
    assert totals(one((0, 5), (600, 5), (1200, 5), (300, 2), (900, 9)))[0] == (3 + 4, 3 + 4, 5, 0)


def test_the_oldest_acceptable_poll_is_late_by_before_the_newest() -> None:
    _, rejected = run(one((7200, 5), (0, 4), (-1, 4)), [], RULES)
    assert rejected == [(2, "too_late")]


def test_a_poll_from_the_future_is_rejected_and_moves_no_clock() -> None:
    messages = [
        Message("x", T0, T0, (("a", 5),)),
        Message("x", T0 + 90_000, T0 + 60, (("a", 1),)),
        Message("x", T0 + 120, T0 + 120, (("a", 4),)),
    ]
    facts, rejected = run(messages, [1, 2], RULES)
    assert rejected == [(1, "future")]
    assert facts["x", "a", T0 // 3600][:3] == (1, 0, 2)


def test_systems_do_not_touch_each_other_even_with_the_same_station_id() -> None:
    facts, _ = run([*one((0, 5)), *one((60, 1), system="y"), *one((120, 4))], [1, 2], RULES)
    assert facts["x", "a", T0 // 3600][:2] == (1, 0)
    assert facts["y", "a", T0 // 3600][:2] == (0, 0)


def test_a_station_that_was_away_for_a_year_comes_back_with_a_gap() -> None:
    messages = [
        *one((0, 5)),
        *[Message("x", T0 + hour * 3600, T0 + 10**9, (("b", 1),)) for hour in range(1, 50)],
    ]
    facts, _ = run(
        [*messages, Message("x", T0 + 365 * 86400, T0 + 10**9, (("a", 9),))], [10, 20, 30, 40], RULES
    )
    assert facts["x", "a", T0 // 3600 + 365 * 24][:4] == (0, 0, 1, 1)


def test_state_stays_small_while_polls_go_on() -> None:
    state = StationState()
    sizes = []
    for poll in range(700):
        message = Message("x", T0 + poll * 60, T0 + poll * 60, (("a", poll % 7), ("b", poll % 3)))
        state = step(state, table([message]), RULES).state
        sizes.append((len(state.log), state.totals.height, sum(chunk.rows for chunk in state.log)))
    assert max(chunks for chunks, _, _ in sizes) <= 30
    assert max(rows for _, rows, _ in sizes) <= 2 * 4
    assert max(raw for _, _, raw in sizes[300:]) <= 2 * 60 * 6
