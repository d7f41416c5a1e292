"""The stream of test_outage.py, which was mended: people are told, once."""

from __future__ import annotations

import pytest

from millrace.control.history import load_history
from tests.conftest import wait_until
from tests.e2e.conftest import DOOMED, Platform
from tests.webhook import Receiver

pytestmark = pytest.mark.stack


def test_people_are_told_once_that_it_has_recovered(
    platform: Platform, people: Receiver, outage: list[str]
) -> None:
    wait_until(lambda: len(people.got) > len(outage), 400, "a third message", every=0.5)
    assert platform.millrace("stream", "stop", DOOMED, "--wait").returncode == 0
    assert people.titles == [*outage, f"Millrace: {DOOMED} has recovered"]
    history = load_history(platform.store, DOOMED).history
    assert history.circuit is None
    assert [(alert.sent, alert.tries) for alert in history.alerts] == [(True, 1)] * 3
    assert [start.attempt for start in history.starts][:3] == [1, 2, 1], (
        "the order began a new series, at once"
    )
    told = platform.millrace("stream", "history", DOOMED).stdout
    assert told.count(", sent: ") == 3
    assert "s3cret-of-a-webhook" not in told
