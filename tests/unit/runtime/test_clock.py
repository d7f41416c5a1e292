from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from spark_apps.runtime.clock import EMPTY_HOURS_SEALED, SourceClock, hours_to_seal, newest_clocks, watermark

HOUR = 3600
LATE, IDLE = timedelta(hours=2), timedelta(minutes=15)


def clock(newest_at: int | None, heard_minutes_ago: float = 0, *, ended: bool = False) -> SourceClock:
    return SourceClock(newest_at, int(10**12 - heard_minutes_ago * 60_000), ended)


def test_the_watermark_is_the_slowest_source_less_the_lateness() -> None:
    assert watermark([clock(50 * HOUR), clock(48 * HOUR)], LATE, IDLE) == 46 * HOUR


def test_a_silent_source_does_not_hold_the_others() -> None:
    sources = [clock(50 * HOUR), clock(10 * HOUR, heard_minutes_ago=15.1)]
    assert watermark(sources, LATE, IDLE) == 48 * HOUR
    assert watermark([sources[0], clock(10 * HOUR, heard_minutes_ago=14.9)], LATE, IDLE) == 8 * HOUR


def test_a_source_whose_input_ended_does_not_hold_the_others() -> None:
    assert watermark([clock(50 * HOUR), clock(10 * HOUR, ended=True)], LATE, IDLE) == 48 * HOUR


def test_when_all_input_has_ended_the_newest_hour_is_complete() -> None:
    assert (
        watermark([clock(50 * HOUR + 7, ended=True), clock(10 * HOUR, ended=True)], LATE, IDLE) == 51 * HOUR
    )


def test_nothing_known_nothing_sealed() -> None:
    assert watermark([], LATE, IDLE) is None
    assert watermark([clock(None, ended=True)], LATE, IDLE) is None
    assert hours_to_seal(None, fact_hours=[3], open_hours=[2], sealed_before=None).open_hours == (2, 3)


def test_hours_are_sealed_once_the_watermark_has_passed_their_end() -> None:
    sealing = hours_to_seal(5 * HOUR, fact_hours=[3, 5], open_hours=[4], sealed_before=None)
    assert (sealing.hours, sealing.open_hours, sealing.sealed_before) == ((3, 4), (5,), 5)
    assert hours_to_seal(6 * HOUR - 1, fact_hours=[], open_hours=[5], sealed_before=5).hours == ()


def test_an_hour_without_facts_is_sealed_too() -> None:
    assert hours_to_seal(9 * HOUR, fact_hours=[8], open_hours=[], sealed_before=6).hours == (6, 7, 8)


def test_a_sealed_hour_that_got_late_facts_is_sealed_again() -> None:
    assert hours_to_seal(9 * HOUR, fact_hours=[2], open_hours=[], sealed_before=9).hours == (2,)


def test_a_poll_dated_1970_does_not_seal_half_a_million_hours() -> None:
    first = hours_to_seal(1 * HOUR, fact_hours=[0], open_hours=[], sealed_before=None)
    then = hours_to_seal(
        490_000 * HOUR, fact_hours=[489_999], open_hours=[], sealed_before=first.sealed_before
    )
    assert len(then.hours) == EMPTY_HOURS_SEALED


@given(st.lists(st.tuples(st.integers(0, 60), st.lists(st.integers(0, 60), max_size=3)), max_size=12))
def test_every_hour_with_facts_is_sealed_or_waiting_and_no_hour_before_its_time(
    batches: list[tuple[int, list[int]]],
) -> None:
    sealed_before, open_hours, since_seal = None, (), set()
    for water, facts in batches:
        sealing = hours_to_seal(
            water * HOUR, fact_hours=facts, open_hours=open_hours, sealed_before=sealed_before
        )
        since_seal = (since_seal | set(facts)) - set(sealing.hours)
        assert since_seal == set(sealing.open_hours)
        assert all(hour < water for hour in sealing.hours)
        assert sealed_before is None or (sealing.sealed_before or 0) >= sealed_before
        sealed_before, open_hours = sealing.sealed_before, sealing.open_hours


def test_clocks_of_sources_not_heard_in_a_batch_stay() -> None:
    before, after = {"a": clock(1), "b": clock(2)}, {"b": clock(3), "c": clock(4)}
    assert {name: c.newest_at for name, c in newest_clocks(before, after).items()} == {"a": 1, "b": 3, "c": 4}
