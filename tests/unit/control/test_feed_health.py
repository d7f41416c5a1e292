from __future__ import annotations

import pytest

from millrace.control.decide import Observed, decide
from millrace.control.feed_report import FeedReport
from millrace.control.health import Thresholds, assess
from millrace.control.history import History
from millrace.control.process import ProcessState
from tests.unit.control.samples import NOW, ago, desired, process, status

AGE = 2
THRESHOLDS = Thresholds()


def feed(state: str = "running", lag: int = 0, changes: dict | None = None, **report):
    """A feed's status; `sent` and the like in seconds before its last heartbeat."""
    moments = {
        name: None if report[name] is None else ago(AGE + report[name])
        for name in ("last_sent_at", "nothing_new_at", "problem_since", "waiting_since")
        if name in report
    }
    made = FeedReport.model_validate(report | moments)
    return status(state, age=AGE, lag=lag, feed=made, **(changes or {}))


@pytest.mark.parametrize(
    ("observed", "state", "says"),
    [
        (feed(pace=30, last_sent_at=10), "running", "sends; it last sent something 10 s ago"),
        (feed(pace=30, last_sent_at=119), "running", "sends"),
        (feed(pace=30, last_sent_at=300), "stalled", "5 min ago, though it should every 30 s"),
        (feed(pace=0.1, last_sent_at=300), "stalled", "though it should every second"),
        (feed(pace=60, last_sent_at=200), "running", "sends"),
        (feed(pace=60, last_sent_at=250), "stalled", "though it should every 60 s"),
        (feed(pace=30), "stalled", "it has sent nothing yet, though it should every 30 s"),
        (feed(last_sent_at=3600), "idle", "nothing comes from its source; it last sent something 60 min ago"),
        (feed(), "idle", "it has sent nothing yet"),
        (feed(pace=30, last_sent_at=600, nothing_new_at=20), "idle", "answers and has nothing new"),
        (feed(pace=30, last_sent_at=600, nothing_new_at=500), "stalled", "though it should"),
        (
            feed(pace=30, last_sent_at=40, problem="HTTP 503", problem_since=30),
            "running",
            "not answered for 30 s (HTTP 503); it last sent something 40 s ago; feed epoch 3",
        ),
        (
            feed(pace=30, last_sent_at=190, problem="HTTP 503", problem_since=180),
            "stalled",
            "for 3 min (HTTP",
        ),
        (feed(pace=30, last_sent_at=600, problem="gone", problem_since=5), "stalled", "(gone); it last sent"),
        (feed(last_sent_at=600, unreadable="bad_json: not JSON"), "stalled", "cannot be read (bad_json: not"),
        (feed(pace=30, last_sent_at=5, unreadable="bad_json: one row"), "running", "sends"),
        (feed(lag=3, pace=30, last_sent_at=5, waiting_since=20), "running", "sends"),
        (feed(lag=3, pace=30, last_sent_at=5, waiting_since=200), "stalled", "3 messages for Kafka wait"),
        (feed(lag=1, last_sent_at=0, waiting_since=0), "running", "sends"),
        (feed("finished"), "finished", "has sent everything that there was"),
        (feed("starting", changes={"started_at": ago(20)}), "starting", "has been starting for"),
        (feed("failed", changes={"error": "no such file"}), "failed", "no such file"),
    ],
)
def test_a_feed_is_judged_by_what_it_sends_and_what_its_source_says(observed, state, says):
    health = assess(desired(), observed, NOW, THRESHOLDS)
    assert health.state == state, health
    assert says in health.reason
    assert health.healthy == (state in ("running", "idle", "finished"))


def test_a_feed_that_has_finished_counts_as_stopped_when_it_should_be():
    health = assess(desired("stopped"), feed("finished"), NOW, THRESHOLDS)
    assert (health.state, health.healthy) == ("stopped", True)


def test_the_numbers_behind_it_are_those_of_a_feed():
    report = feed(lag=2, changes={"records": 70, "rejected": {"bad_json": 3}}, last_sent_at=1)
    numbers = assess(desired(), report, NOW, THRESHOLDS).numbers
    assert (numbers["messages"], numbers["on_their_way"], numbers["unreadable"]) == (70, 2, 3)
    assert "watermark" not in numbers


@pytest.mark.parametrize(
    "seen",
    [
        None,
        process(ProcessState.EXITED, exit_code=14),
        process(ProcessState.STOPPED),
        process(ProcessState.RUNNING),
    ],
)
def test_a_feed_that_has_finished_is_left_alone_until_a_person_orders_more(seen):
    observed = Observed(feed("finished"), 3, process=seen)
    assert decide(desired(), observed, History(), NOW).kind == "leave"
    again = decide(desired(spec_revision=2), observed, History(), NOW)
    ends = seen is not None and seen.state is ProcessState.RUNNING
    assert again.kind == ("wait" if ends else "start"), again
