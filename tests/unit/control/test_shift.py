from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

from millrace.control.history import History, with_health
from millrace.control.shift import Shift, report
from millrace.control.view import StreamView
from tests.unit.control.samples import NOW, ago, desired, status

HOUR = timedelta(hours=1)


def view(observed, history=None, newest_epoch=3) -> StreamView:
    return StreamView(
        "bikes",
        NOW,
        desired(),
        history=history or History(),
        status=observed,
        newest_epoch=newest_epoch,
    )


def test_a_shift_goes_through_the_database_unchanged_and_forgives_other_versions():
    shift = Shift.begin(NOW, HOUR, 0.3, view(status(records=5, rejected={"future": 2})))
    fields = json.loads(json.dumps(shift.to_json()))
    assert Shift.from_json(fields) == shift
    assert Shift.from_json(fields | {"colour": "blue"}) == shift


def test_shifts_that_begin_together_end_apart():
    ends = [Shift.begin(NOW, HOUR, jitter, None).ends_at - NOW for jitter in (0, 0.5, 1)]
    assert ends == [timedelta(minutes=57), HOUR, timedelta(minutes=63)]


def test_the_report_counts_what_happened_in_the_shift_only():
    before = status(records=100, batches=10, facts=50, rejected={"future": 1}, lag=7)
    shift = Shift.begin(ago(3600), HOUR, 0.5, view(before))
    old = status(records=150, batches=15, facts=80, rejected={"future": 3}, lag=70).status
    new = status(
        epoch=4, records=30, batches=3, facts=10, lag=0, batch_seconds_p50=0.2, batch_seconds_p99=1.5
    )
    done = report(shift, view(new, newest_epoch=5), [old, new.status], HOUR)
    assert (done.records, done.batches, done.facts, done.rejected) == (80, 8, 40, 2)
    assert (done.largest_lag, done.restarts) == (70, 2)
    assert (done.batch_seconds_p50, done.batch_seconds_p99) == (0.2, 1.5)
    assert not done.over_budget
    text = "\n".join(done.lines())
    assert "records in" in text
    assert "p99 1.50 s" in text


def test_when_the_first_status_is_gone_nothing_is_subtracted_from_the_others():
    shift = Shift.begin(ago(3600), HOUR, 0.5, view(status(epoch=3, records=100)))
    done = report(shift, view(status(epoch=9)), [status(epoch=9, records=30).status], HOUR)
    assert done.records == 30


def test_a_shift_is_over_budget_when_a_tenth_of_it_was_unhealthy():
    failed = view(status("failed", error="boom"))
    shift = Shift.begin(ago(3600), HOUR, 0.5, failed)
    for seconds, over in ((359, False), (361, True)):
        history = with_health(History(), ago(seconds), failed.health)
        done = report(shift, replace(failed, history=history), [], HOUR)
        assert done.over_budget is over
        assert "failed: driver epoch 3" in done.spells[0]


def test_a_short_shift_may_hold_one_cold_start():
    shift = Shift.begin(ago(120), timedelta(minutes=2), 0.5, None)
    assert shift.budget == timedelta(seconds=90)


def test_the_report_of_a_feed_has_nothing_of_micro_batches():
    view = StreamView("feed-city", NOW, desired(), status=status(records=70))
    lines = report(Shift.begin(NOW, timedelta(hours=1), 0.5, view), view, [], timedelta(hours=1)).lines()
    assert not [line for line in lines if "micro-batches" in line or "facts" in line]
    assert any(line.startswith("  records in") for line in lines)
