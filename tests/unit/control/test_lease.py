from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from millrace.control.health import silent_after
from millrace.control.lease import Lease, patience_with


def test_it_lasts_from_the_moment_of_the_question() -> None:
    now = [1000.0]
    lease = Lease(timedelta(seconds=30), now=lambda: now[0])
    assert (lease.held, lease.seconds) == (False, 20)
    lease.renew(1000.0)
    lease.renew(990.0)
    seen = []
    for now[0] in (1019.9, 1020.0, 1024.9, 1025.0):
        seen.append((lease.held, lease.is_over))
    assert seen == [(True, False), (False, False), (False, False), (False, True)], (
        "an older answer takes nothing away"
    )
    lease.renew(1025.0)
    assert (lease.held, lease.is_over) == (True, False)


@given(st.floats(0.001, 3600))
def test_it_is_over_well_before_a_successor_begins_and_lasts_for_some_heartbeats(heartbeat: float) -> None:
    silent = silent_after(timedelta(seconds=heartbeat)).total_seconds()
    lease = Lease(timedelta(seconds=silent))
    assert lease.seconds >= 3.9 * heartbeat
    assert lease.seconds <= silent - 9.9
    assert abs(patience_with(lease.seconds).total_seconds() - silent) < 0.001
