from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.catalog import StreamSpec
from millrace.control.health import Thresholds, assess
from tests.unit.control.samples import NOW, SPEC, ago, desired, status

THRESHOLDS = Thresholds.of(SPEC)
GROWING = tuple(range(50_000, 100_000, 2_500))
"""Half-minute lows of ten minutes."""


@pytest.mark.parametrize(
    ("observed", "state", "healthy"),
    [
        (None, "stopped", False),
        (status(lag=0), "idle", True),
        (status(lag=10, last_progress_at=ago(5)), "running", True),
        (status(lag=100_000, last_progress_at=ago(5)), "running", True),
        (status(lag=100_000, still_seconds=1, lag_lows=GROWING), "lagging", False),
        (status(lag=100_000, still_seconds=1, lag_lows=GROWING[::-1]), "running", True),
        (status(lag=100_000, still_seconds=1, lag_lows=GROWING[-10:]), "running", True),
        (status(lag=4_000, still_seconds=1, lag_lows=GROWING), "running", True),
        (status(lag=10, still_seconds=121, last_progress_at=ago(5)), "stalled", False),
        (status(lag=10, still_seconds=119, last_progress_at=ago(900)), "running", True),
        (status(lag=0, still_seconds=0, last_progress_at=ago(900)), "idle", True),
        (status(lag=None, lag_lows=(5, 5), last_progress_at=ago(900)), "running", True),
        (status(lag=10, last_progress_at=ago(600)), "stalled", False),
        (status(lag=100_000, last_progress_at=ago(600)), "stalled", False),
        (status(lag=10, last_progress_at=ago(600), last_idle_at=ago(5)), "running", True),
        (status(lag=None, last_progress_at=ago(600)), "running", True),
        (status(lag=None, last_progress_at=ago(600), last_idle_at=ago(5)), "idle", True),
        (status("starting", started_at=ago(20)), "starting", False),
        (status("starting", started_at=ago(600)), "stalled", False),
        (status("stopping"), "stopping", False),
        (status("stopped", exit_code=0), "stopped", False),
        (status("failed", error="boom"), "failed", False),
        (status("fenced"), "fenced", False),
        (status("running", age=31), "silent", False),
        (status("starting", age=31), "silent", False),
        (status("stopping", age=31), "silent", False),
        (status("failed", age=86400), "failed", False),
        (status("running", age=-31), "silent", False),
        (status("running", age=-29), "idle", True),
    ],
)
def test_health_of_a_stream_that_should_run(observed, state, healthy):
    health = assess(desired(), observed, NOW, THRESHOLDS)
    assert (health.state, health.healthy) == (state, healthy), health


@pytest.mark.parametrize(
    ("observed", "state", "healthy"),
    [
        (None, "stopped", True),
        (status("running"), "stopping", True),
        (status("stopped"), "stopped", True),
        (status("failed"), "failed", False),
        (status("running", age=31), "silent", False),
    ],
)
def test_health_of_a_stream_that_should_not_run(observed, state, healthy):
    health = assess(desired("stopped"), observed, NOW, THRESHOLDS)
    assert (health.state, health.healthy) == (state, healthy), health


@pytest.mark.parametrize(
    ("observed", "state"),
    [
        (status("running", age=31), "stopped"),
        (status("stopping"), "stopped"),
        (status("failed"), "failed"),
        (None, "stopped"),
    ],
)
def test_a_driver_that_was_killed_because_it_did_not_stop_has_stopped_once_its_host_says_so(observed, state):
    health = assess(desired("stopped"), observed, NOW, THRESHOLDS, gone=True)
    assert (health.state, health.healthy) == (state, state == "stopped"), health
    assert assess(desired(), status("running", age=31), NOW, THRESHOLDS, gone=True).state == "silent"


def test_reasons_name_the_driver_and_the_cause():
    assert assess(desired(), status("failed", error="no such topic"), NOW, THRESHOLDS).reason == (
        "driver epoch 3 (pid 4711 on host-1) failed: no such topic"
    )
    assert "12 records wait and nothing has moved for 10 min" in str(
        assess(desired(), status(lag=12, age=0, last_progress_at=ago(600)), NOW, THRESHOLDS)
    )
    assert "cannot be told" in assess(desired(), status(lag=None), NOW, THRESHOLDS).reason


@given(skew=st.integers(-86400, 86400))
def test_a_driver_whose_clock_is_wrong_is_judged_the_same(skew):
    shift = timedelta(seconds=skew)
    right = status(lag=10, last_progress_at=ago(600))
    wrong = right.status.model_copy(
        update={
            name: getattr(right.status, name) + shift
            for name in ("started_at", "heartbeat_at", "last_progress_at")
        }
    )
    seen = type(right)(wrong, right.written_at, right.read_at)
    assert assess(desired(), seen, NOW, THRESHOLDS).state == "stalled"


def test_the_numbers_behind_a_finding_are_there():
    health = assess(desired(), status(lag=99_000, still_seconds=1, lag_lows=GROWING), NOW, THRESHOLDS)
    assert "99,000 records wait, and it has not become less for 5 min (it was 72,500)" in health.reason
    assert (health.numbers["lag"], health.numbers["lag_before"]) == (99_000, 72_500)
    health = assess(desired(), status(lag=7, still_seconds=300), NOW, THRESHOLDS)
    assert (health.numbers["still_seconds"], health.numbers["stalled_after_seconds"]) == (300, 120)


def test_thresholds_follow_the_trigger_unless_the_catalog_names_them():
    def of(**changes):
        return Thresholds.of(StreamSpec.model_validate(SPEC.model_dump() | changes))

    usual, slow = of(), of(trigger="1min", heartbeat="20s", max_messages_per_batch=7)
    assert (usual.stalled_after, usual.lagging_for) == (timedelta(minutes=2), timedelta(minutes=5))
    assert (slow.stalled_after, slow.lagging_for) == (timedelta(minutes=20), timedelta(minutes=29))
    assert (slow.silent_after, slow.lagging_records) == (timedelta(minutes=2), 70)
    rules = {"silent_after": "10s", "start_within": "20s", "stalled_after": "40s", "lagging_for": "3min"}
    rules |= {"recovered_after": "15s"}
    own = of(health=rules | {"lagging_records": 0})
    assert own == replace(
        usual,
        silent_after=timedelta(seconds=10),
        start_within=timedelta(seconds=20),
        stalled_after=timedelta(seconds=40),
        lagging_for=timedelta(minutes=3),
        lagging_records=0,
        down_after=timedelta(seconds=50),
        recovered_after=timedelta(seconds=15),
    )


def test_a_slow_heartbeat_has_its_own_silence():
    slow = Thresholds.of(SPEC.model_copy(update={"heartbeat": timedelta(seconds=60)}))
    assert assess(desired(), status(lag=0, age=300), NOW, slow).state == "idle"
    assert assess(desired(), status(lag=0, age=361), NOW, slow).state == "silent"
