"""The past of a made-up feed: evenly spaced, whole, and before now."""

from __future__ import annotations

from datetime import timedelta

from millrace.feeds.past import past_moments


def test_the_past_is_evenly_filled_up_to_now() -> None:
    assert list(past_moments(1000.0, timedelta(seconds=2), 2.0)) == [998.0, 998.5, 999.0, 999.5]


def test_no_past() -> None:
    assert list(past_moments(1000.0, timedelta(0), 10.0)) == []
