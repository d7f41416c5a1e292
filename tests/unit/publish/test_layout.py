from datetime import UTC, datetime, timedelta, timezone

import pytest

from millrace.publish.layout import (
    LayoutError,
    facts_key,
    parse_landing_key,
    published_hour,
    published_key,
    seal_key,
    whole_hour,
)
from millrace.publish.version import Version

HOUR = datetime(2026, 1, 31, 13, tzinfo=UTC)


def test_a_landing_name_says_what_it_holds() -> None:
    key = facts_key("hourly_summary", HOUR, Version(0, 3, 41), 2, b"rows")
    name = parse_landing_key(key)
    assert (name.dataset, name.hour, name.version, name.part, name.is_seal) == (
        "hourly_summary",
        HOUR,
        Version(0, 3, 41),
        2,
        False,
    )
    assert parse_landing_key(seal_key("hourly_summary", HOUR, Version(0, 3, 41))).is_seal


def test_one_name_means_one_content() -> None:
    same = [facts_key("d", HOUR, Version(0, 1, 1), 0, body) for body in (b"a", b"a", b"b")]
    assert same[0] == same[1] != same[2]


def test_names_sort_as_their_versions() -> None:
    versions = [Version(0, 1, 2), Version(0, 1, 10), Version(0, 2, 0), Version(1, 1, 0)]
    assert versions == sorted(versions, key=lambda v: seal_key("d", HOUR, v))


def test_published_path_is_by_utc_hour_and_can_be_read_back() -> None:
    assert published_key("hourly_summary", HOUR) == "hourly_summary/2026/01/31/13/part-0.parquet"
    assert published_hour("hourly_summary", published_key("hourly_summary", HOUR)) == HOUR
    seoul = datetime(2026, 1, 31, 22, tzinfo=timezone(timedelta(hours=9)))
    assert published_key("hourly_summary", seoul) == published_key("hourly_summary", HOUR)


@pytest.mark.parametrize("bad", [datetime(2026, 1, 1, 1), datetime(2026, 1, 1, 1, 30, tzinfo=UTC)])
def test_a_time_that_is_no_utc_hour_is_refused(bad: datetime) -> None:
    with pytest.raises(LayoutError):
        whole_hour(bad)


def test_a_strange_name_is_refused() -> None:
    with pytest.raises(LayoutError):
        parse_landing_key("landing/d/hour=2026-01-31T13/readme.txt")
