from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from millrace.control.lives import (
    MOST_LIVES,
    MOST_LIVES_OF_A_RETRY,
    WINDOW,
    next_life,
    read_lives,
    write_lives,
)
from tests.unit.control.samples import NOW


def test_a_crash_loop_is_slowed_down_and_then_left_to_airflow():
    lives, delays = None, []
    for second in range(8):
        lives, delay = next_life(lives, "first", NOW + timedelta(seconds=second))
        delays.append(delay)
    assert delays == [0, 0, 2, 4, 8, 16, None, None]
    _, delay = next_life(lives, "second", NOW + timedelta(seconds=9))
    assert delay == 0, "a new order begins to count anew"


def test_an_order_that_is_itself_a_retry_gets_fewer_lives():
    lives, delays = None, []
    for _ in range(4):
        lives, delay = next_life(lives, "third", NOW, MOST_LIVES_OF_A_RETRY)
        delays.append(delay)
    assert delays == [0, 0, None, None]


@given(st.lists(st.floats(0, 300), max_size=60))
def test_a_driver_never_has_more_lives_in_the_window_than_allowed(gaps):
    lives, now, begun = None, NOW, []
    for gap in gaps:
        now += timedelta(seconds=gap)
        lives, delay = next_life(lives, "order", now)
        if delay is not None:
            begun.append(now)
        assert sum(now - one < WINDOW for one in begun) <= MOST_LIVES


def test_the_record_survives_and_a_broken_one_is_begun_anew(tmp_path):
    path = tmp_path / "lives.json"
    assert read_lives(path) is None
    lives, _ = next_life(None, "order", NOW)
    write_lives(path, lives)
    assert read_lives(path) == lives
    path.write_text('{"order": 1')
    assert read_lives(path) is None
