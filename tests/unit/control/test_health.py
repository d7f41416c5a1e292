from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.control.health import Thresholds, assess
from tests.unit.control.samples import NOW, SPEC, ago, desired, status

THRESHOLDS = Thresholds.of(SPEC)


@pytest.mark.parametrize(
    ("observed", "state", "healthy"),
    [
        (None, "stopped", False),
        (status(lag=0), "idle", True),
        (status(lag=10, last_progress_at=ago(5)), "running", True),
        (status(lag=100_000, last_progress_at=ago(5)), "lagging", True),
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


def test_a_slow_heartbeat_has_its_own_silence():
    slow = Thresholds.of(SPEC.model_copy(update={"heartbeat": timedelta(seconds=60)}))
    assert assess(desired(), status(lag=0, age=300), NOW, slow).state == "idle"
    assert assess(desired(), status(lag=0, age=361), NOW, slow).state == "silent"
