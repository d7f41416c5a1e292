"""Two clocks differ only as far as nothing else explains it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from millrace.doctor.clock import judge, skew

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        (AT, 0),
        (AT + SECOND, 0),
        (AT - SECOND, 0),  # an HTTP date is cut down to whole seconds
        (AT - timedelta(seconds=11), -10),
        (AT + timedelta(seconds=12), 10),
    ],
)
def test_what_the_network_explains_is_no_difference(told: datetime, seconds: int) -> None:
    found = skew(AT, told, AT + 2 * SECOND, SECOND)
    assert found == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("seconds", "level"), [(0, "fine"), (4, "fine"), (-30, "warning"), (30, "warning"), (-90, "error")]
)
def test_a_minute_is_harmful(seconds: int, level: str) -> None:
    found = judge("Store", "the store's", timedelta(seconds=seconds))
    assert found.level == level
    assert ("behind" in found.says) == (seconds < 0)
