"""A stream that cannot run, under the real Airflow: the circuit opens, and people are told.

It begins to fail before the first test of the platform, and is mended here; that it has recovered is told later
(test_recovery.py).
"""

from __future__ import annotations

import pytest

from millrace.control.history import load_history
from tests.e2e.conftest import DOOMED, Platform
from tests.webhook import Receiver

pytestmark = pytest.mark.stack


def test_people_are_told_once_that_it_is_down_and_once_that_its_circuit_is_open(
    platform: Platform, people: Receiver, outage: list[str]
) -> None:
    assert sorted(outage) == [f"Millrace: {DOOMED} fails again and again", f"Millrace: {DOOMED} is down"]
    for message in people.got[:2]:
        assert f"{platform.inbox} is not a directory" in message["message"]
        assert f"To look at: the DAG stream__{DOOMED}" in message["message"]
    before = load_history(platform.store, DOOMED).history.starts[:2]
    assert [start.attempt for start in before] == [1, 2]
    assert before[1].backoff_seconds > 600, "from now on it is tried rarely"
