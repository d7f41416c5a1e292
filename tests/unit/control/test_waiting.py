from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.control.waiting import Waiting, comes_down
from millrace.supervision import LAG_SPAN, LAG_SPANS

SPAN = LAG_SPAN.total_seconds()


class Clock:
    def __init__(self) -> None:
        self.now = 1000 * SPAN

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def waiting(clock: Clock) -> Waiting:
    return Waiting(clock)


def test_it_counts_from_when_records_began_to_wait_and_anew_with_every_commit(waiting, clock):
    waiting.look(0, 1)
    clock.now += 100
    waiting.look(5, 1)
    assert waiting.still_seconds() == 0, "they came a moment ago"
    clock.now += 70
    waiting.look(9, 1)
    assert waiting.still_seconds() == 70
    waiting.look(4, 2)
    assert waiting.still_seconds() == 0
    clock.now += 30
    assert waiting.still_seconds() == 30
    waiting.look(0, 2)
    clock.now += 30
    assert waiting.still_seconds() == 0


def test_a_source_that_does_not_answer_is_no_stall(waiting, clock):
    waiting.look(5, 1)
    clock.now += 100
    waiting.look(None, 1)
    assert waiting.still_seconds() == 0
    clock.now += 100
    waiting.look(5, 1)
    assert waiting.still_seconds() == 0


def test_of_each_span_the_lowest_lag_is_kept(waiting, clock):
    for lag in (7, 3, 9):
        waiting.look(lag, 1)
        clock.now += SPAN / 4
    clock.now += SPAN / 4
    waiting.look(8, 1)
    assert waiting.lows() == (3, 8)
    clock.now += 3 * SPAN
    waiting.look(10, 1)
    assert waiting.lows() == (3, 8, 8, 8, 10), "spans that nobody saw repeat what was known"
    clock.now += 1000 * SPAN
    waiting.look(1, 1)
    assert waiting.lows() == (10,) * (LAG_SPANS - 1) + (1,)


def saw_tooth(growth: float, minutes: float, batch_seconds: float, start: float = 0) -> tuple[int, ...]:
    """Half-minute lows of a lag that grows by `growth` a second under micro-batches, looked at every 5 s."""
    clock = Clock()
    waiting = Waiting(clock)
    income = 100.0 + max(growth, 0)
    for step in range(int(minutes * 12)):
        at = step * 5.0
        behind = at % batch_seconds * income
        waiting.look(max(0, round(start + growth * at + behind)), step)
        clock.now += 5
    return waiting.lows()


@pytest.mark.parametrize("batch_seconds", [2, 20, 45])
def test_a_lag_that_grows_under_the_saw_tooth_of_micro_batches_is_seen(batch_seconds):
    assert not comes_down(saw_tooth(20, 8, batch_seconds), 10)
    assert comes_down(saw_tooth(-20, 8, batch_seconds, start=100_000), 10)


def test_a_burst_that_is_worked_off_never_counts_as_growth():
    quiet, worked_off = [3] * 20, [max(0, 1_000_000 - 30_000 * number) for number in range(40)]
    for seen in range(1, 41):
        lows = tuple(quiet + worked_off[:seen])[-LAG_SPANS:]
        assert comes_down(lows, 10, floor=100), seen


def test_a_lag_that_was_within_bounds_a_moment_ago_is_no_growth():
    grows = tuple(range(1000, 3000, 100))
    assert not comes_down(grows, 10, floor=1800)
    assert comes_down(grows, 10, floor=1900)


def test_what_is_not_known_for_long_enough_is_no_growth():
    assert comes_down(tuple(range(1, 11)), 10)
    assert not comes_down(tuple(range(1, 12)), 10)


@given(st.lists(st.integers(0, 10**9), min_size=12, max_size=LAG_SPANS), st.integers(4, 58))
def test_a_lag_that_only_grows_does_not_come_down_and_one_that_only_shrinks_does(lags, spans):
    grown = tuple(sorted(lag + 1 for lag in lags))
    whole = len(grown) - 1 >= spans
    assert comes_down(grown, spans) is not whole
    if whole and len(set(grown)) == len(grown):
        assert comes_down(grown[::-1], spans)
