from millrace.feeds.pace import Pace
from millrace.feeds.stop import Stop


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_first_is_due_at_once_and_then_the_rate_is_kept() -> None:
    clock = Clock()
    pace = Pace(10, clock)
    given = []
    for _ in range(300):
        given.append(pace.due())
        clock.now += 0.037
    assert given[0] == 1
    assert sum(given) == int(299 * 0.037 * 10) + 1
    assert max(given) == 1


def test_a_slow_rate_is_never_reset() -> None:
    clock = Clock()
    pace = Pace(0.1, clock)
    given = 0
    for _ in range(100):
        given += pace.due()
        clock.now += 1.7
    assert given == int(99 * 1.7 * 0.1) + 1


def test_what_was_missed_for_long_is_forgotten_and_what_was_missed_shortly_is_not() -> None:
    clock = Clock()
    pace = Pace(100, clock)
    pace.due()
    clock.now += 1.5
    assert pace.due() == 150
    clock.now += 3600
    assert pace.due() == 1
    clock.now += 0.5
    assert pace.due() == 50


def test_waiting_ends_when_asked_to_stop() -> None:
    stop = Stop()
    stop.set()
    assert not Pace(0.001).wait(stop)
