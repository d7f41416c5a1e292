from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.control.health import Health
from millrace.control.history import (
    KEPT_CHANGES,
    KEPT_SHIFTS,
    KEPT_STARTS,
    History,
    ShiftEntry,
    circuit_can_close,
    keep_shift,
    load_history,
    unhealthy_spells,
    with_health,
    with_start,
    write_history,
)
from millrace.store import MemoryStore, PreconditionFailed
from millrace.supervision import RestartRules
from tests.unit.control.samples import NOW

GOOD, BAD = Health("running", "it runs", True), Health("failed", "boom", False)


def at(seconds: float):
    return NOW + timedelta(seconds=seconds)


def seen(*changes: tuple[float, Health]) -> History:
    history = History()
    for seconds, health in changes:
        history = with_health(history, at(seconds), health)
    return history


@given(jitter=st.floats(0, 1), gaps=st.lists(st.floats(0, 3000), max_size=12))
def test_the_series_of_attempts_grows_until_a_driver_lived_long_enough(jitter, gaps):
    history = with_start(
        History(), NOW, kind="start", reason="", epoch_before=0, spec_revision=1, jitter=jitter
    )
    now = NOW
    for gap in gaps:
        last = history.last_start
        now += timedelta(seconds=gap)
        history = with_start(
            history, now, kind="start", reason="", epoch_before=0, spec_revision=1, jitter=jitter
        )
        assert history.last_start.attempt == last.attempt + 1, "nobody has seen it healthy"
        assert 0.7 <= history.last_start.backoff_seconds <= (900 if history.circuit else 300)


def begun(history: History, seconds: float, **more) -> History:
    fields = {"kind": "start", "reason": "boom", "epoch_before": 0, "spec_revision": 1, "jitter": 1}
    return with_start(history, at(seconds), **fields | more)


@pytest.mark.parametrize(("healthy_for", "attempt"), [(599, 2), (600, 1)])
def test_ten_healthy_minutes_end_the_series_whoever_has_seen_them(healthy_for, attempt):
    history = with_health(begun(History(), 0), at(20), GOOD)
    history = with_health(history, at(20 + healthy_for), BAD)
    assert begun(history, 5000).last_start.attempt == attempt
    unseen = begun(History(), 0)
    assert begun(unseen, 5000, worked_for=timedelta(seconds=healthy_for)).last_start.attempt == attempt


def test_time_alone_does_not_end_the_series():
    assert begun(begun(History(), 0), 86400).last_start.attempt == 2
    before = with_health(with_health(History(), at(0), GOOD), at(3600), BAD)
    assert begun(begun(before, 3600), 3700).last_start.attempt == 2, "it was healthy before that start"


def test_the_circuit_opens_after_so_many_starts_and_closes_when_the_stream_is_healthy():
    rules = RestartRules(failures=3, window="10min", retry_every="1h")
    history = begun(begun(History(), 0, rules=rules), 100, rules=rules)
    assert history.circuit is None
    history = begun(history, 200, rules=rules)
    assert (history.circuit.opened_at, history.circuit.failures, history.circuit.reason) == (
        at(200),
        3,
        "boom",
    )
    assert history.last_start.backoff_seconds == 3600
    again = begun(history, 4000, rules=rules)
    assert (again.circuit, again.last_start.backoff_seconds) == (history.circuit, 3600), "a slow retry failed"
    healthy = with_health(history, at(4100), GOOD)
    assert not circuit_can_close(healthy, at(4699))
    assert circuit_can_close(healthy, at(4700))
    assert circuit_can_close(healthy, at(0)), "a clock that was set back holds no circuit open"
    assert not circuit_can_close(with_health(healthy, at(4600), BAD), at(9000))
    assert begun(history, 4000, rules=rules, spec_revision=2).circuit is None, "somebody ordered something"


def test_starts_that_are_far_apart_open_no_circuit():
    rules = RestartRules(failures=3, window="10min", retry_every="1h")
    history = History()
    for number in range(9):
        history = begun(history, number * 301, rules=rules)
    assert history.circuit is None


def test_a_changed_desired_state_begins_a_new_series():
    history = History()
    for revision, attempt in ((1, 1), (1, 2), (2, 1), (2, 2)):
        history = with_start(
            history, NOW, kind="start", reason="", epoch_before=0, spec_revision=revision, jitter=0
        )
        assert history.last_start.attempt == attempt


def test_only_what_is_new_about_the_health_is_written_down():
    history = seen((0, GOOD), (10, GOOD), (20, Health("idle", "nothing waits", True)), (30, BAD), (40, BAD))
    assert [change.state for change in history.health] == ["running", "failed"]
    history = with_health(history, at(50), Health("silent", "no word", False))
    assert [change.state for change in history.health] == ["running", "failed", "silent"]


def test_unhealthy_time_is_counted_within_the_shift_only():
    history = seen((0, GOOD), (100, BAD), (160, GOOD), (500, BAD))
    spells = unhealthy_spells(history, at(130), at(530))
    assert spells == [(timedelta(seconds=30), "failed: boom"), (timedelta(seconds=30), "failed: boom")]
    assert unhealthy_spells(History(), at(0), at(100)) == []
    assert unhealthy_spells(seen((0, BAD)), at(1000), at(1060)) == [(timedelta(seconds=60), "failed: boom")]


def test_the_history_does_not_grow_for_ever():
    history = History()
    for second in range(1000):
        history = with_health(history, at(second), GOOD if second % 2 else BAD)
        history = with_start(
            history, at(second), kind="start", reason="", epoch_before=0, spec_revision=1, jitter=0
        )
    assert len(history.health) == KEPT_CHANGES
    assert len(history.starts) == KEPT_STARTS
    assert history.starts[-1].at == at(999)


def test_two_supervisors_do_not_overwrite_each_other():
    store = MemoryStore()
    assert load_history(store, "bikes").history == History()
    etag = write_history(store, "bikes", seen((0, GOOD)), replacing=None)
    write_history(store, "bikes", seen((0, BAD)), replacing=etag)
    with pytest.raises(PreconditionFailed):
        write_history(store, "bikes", seen((0, GOOD)), replacing=etag)
    assert load_history(store, "bikes").history.last_health.state == "failed"


def test_shifts_are_kept_also_when_somebody_writes_in_between_and_the_oldest_go():
    store, shift = (
        MemoryStore(),
        ShiftEntry(
            began_at=at(0),
            ended_at=at(3600),
            state="idle",
            reason="nothing waits",
            records=1,
            batches=1,
            rejected=0,
            restarts=0,
            largest_lag=0,
            unhealthy_seconds=0,
            red=False,
        ),
    )
    original, raced = store.put, []

    def raced_put(key, body, **conditions):
        if not raced:
            raced.append(key)
            original(key, seen((0, BAD)).to_body())
        return original(key, body, **conditions)

    store.put = raced_put
    for number in range(KEPT_SHIFTS + 1):
        keep_shift(store, "bikes", shift.model_copy(update={"records": number}))
    found = load_history(store, "bikes").history
    assert [found.last_health.state, len(found.shifts)] == ["failed", KEPT_SHIFTS]
    assert found.shifts[-1].records == KEPT_SHIFTS
