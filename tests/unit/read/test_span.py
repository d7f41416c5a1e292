"""The span of hours that a person names on the command line."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from millrace.read.span import NotASpan, parse_span

NOW = datetime(2026, 3, 2, 10, 20, tzinfo=UTC)
MARCH = datetime(2026, 3, 1, tzinfo=UTC)


def test_days_and_hours_are_utc_unless_they_say_otherwise() -> None:
    assert parse_span("2026-03-01", "2026-03-02", NOW) == (MARCH, MARCH + timedelta(days=1))
    assert parse_span("2026-03-01T14", "2026-03-01T15:00Z", NOW) == (
        MARCH.replace(hour=14),
        MARCH.replace(hour=15),
    )
    assert parse_span("2026-03-01T09:00+09:00", "2026-03-01T10:00+09:00", NOW) == (
        MARCH,
        MARCH.replace(hour=1),
    )


def test_left_out_it_is_the_last_day_with_the_present_hour() -> None:
    end = datetime(2026, 3, 2, 11, tzinfo=UTC)
    assert parse_span(None, None, NOW) == (end - timedelta(days=1), end)
    assert parse_span("2026-03-01", None, NOW) == (MARCH, end)


@pytest.mark.parametrize(
    ("start", "end", "words"),
    [
        ("yesterday", None, r"--from 'yesterday' is not a time: write a day such as 2026-03-01"),
        (
            "2026-03-01T14:30",
            None,
            r"not the beginning of an hour: write 2026-03-01T14:00Z or 2026-03-01T15:00Z",
        ),
        ("2026-03-01T14:00+05:30", None, r"is 2026-03-01 08:30:00 UTC, not the beginning"),
        ("2026-03-01", "2026-03-01", r"is not before --to 2026-03-01T00Z"),
    ],
)
def test_what_is_no_span_is_answered_with_what_would_be(start: str, end: str | None, words: str) -> None:
    with pytest.raises(NotASpan, match=words.replace("+", r"\+")):
        parse_span(start, end, NOW)
