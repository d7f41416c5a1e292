from datetime import UTC, datetime

import pytest

from millrace.feeds.http import retry_after
from millrace.feeds.model import Unreadable
from millrace.feeds.reading import count, epoch_seconds, flag


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (1434054678, 1434054678),
        (1434054678.9, 1434054678),
        ("1434054678", 1434054678),
        ("2023-07-17T13:34:13+02:00", 1689593653),
        ("2023-07-17T11:34:13Z", 1689593653),
        ("2023-07-17T11:34:13.250Z", 1689593653),
        (" 2023-07-17T11:34:13Z ", 1689593653),
        ("2023-07-17t11:34:13z", 1689593653),
    ],
)
def test_times_are_read_in_all_forms_that_feeds_use(value: object, seconds: int) -> None:
    assert epoch_seconds(value, "t") == seconds


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        0,
        -5,
        1434054678000,
        float("nan"),
        float("inf"),
        10**400,
        "",
        "x",
        "2023-07-17",
        "²",
        [],
        {},
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-12:00",
    ],
)
def test_what_is_no_time_is_refused(value: object) -> None:
    with pytest.raises(Unreadable):
        epoch_seconds(value, "t")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, 0),
        (7, 7),
        ("7", 7),
        (" 7 ", 7),
        (7.0, 7),
        (2**31, None),
        (-1, None),
        (7.5, None),
        ("", None),
        ("-1", None),
        ("٧", None),
        (True, None),
        (None, None),
        ([7], None),
        (float("inf"), None),
    ],
)
def test_counts(value: object, expected: int | None) -> None:
    assert count(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(True, True), (False, False), (1, True), (0, False), (2, None), ("true", None), (None, None)],
)
def test_flags(value: object, expected: bool | None) -> None:
    assert flag(value) is expected


NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("5", 5.0),
        ("0", 0.0),
        ("999999999999", 3600.0),
        ("Sat, 21 Nov 2026 12:00:30 GMT", 30.0),
        ("Sat, 21 Nov 2026 11:00:00 GMT", 0.0),
        ("Sun, 22 Nov 2026 12:00:00 GMT", 3600.0),
        ("-5", None),
        ("soon", None),
        ("", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(header: str | None, seconds: float | None) -> None:
    assert retry_after(header, NOW) == seconds
