import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.feeds.envelope import poll_pages
from millrace.feeds.gbfs.parse import parse_discovery, parse_station_status, parse_system_id
from millrace.feeds.model import Poll, Station, Unreadable
from tests.unit.feeds.shared_data import DIRECTORY, needs_shared_data
from tests.unit.feeds.strategies import ids, json_values

NOW = 1_700_000_100
EXAMPLES = DIRECTORY / "gbfs_spec_examples"

small_counts = st.integers(0, 500)
moments = st.integers(1_000_000_000, 2_000_000_000)


@st.composite
def bodies(draw: st.DrawFn) -> tuple[dict[str, Any], Poll]:
    """A station_status body of some version, and what it says."""
    major = draw(st.sampled_from([1, 2, 3]))
    moment = draw(moments)
    offset = timezone(timedelta(minutes=draw(st.sampled_from([-480, -210, 0, 60, 345, 540]))))

    def written(seconds: int) -> Any:
        return datetime.fromtimestamp(seconds, UTC).astimezone(offset).isoformat() if major == 3 else seconds

    def flag(value: bool) -> Any:
        return int(value) if major == 1 else value

    things, other_things = ("vehicles", "bikes") if major == 3 else ("bikes", "vehicles")
    rows, stations = [], []
    for station_id in draw(st.lists(ids.filter(str.strip), max_size=4, unique=True)):
        bikes = draw(small_counts)
        row: dict[str, Any] = {"station_id": station_id, f"num_{things}_available": bikes}
        if draw(st.booleans()):  # some write the names of both versions, and null in those they do not use
            row |= {f"num_{other_things}_available": None, f"num_{other_things}_disabled": None}
        known: dict[str, Any] = {}
        for field, name, values in (
            ("docks", "num_docks_available", small_counts),
            ("bikes_disabled", f"num_{things}_disabled", small_counts),
            ("docks_disabled", "num_docks_disabled", small_counts),
            ("ebikes", "num_ebikes_available", small_counts),
        ):
            if draw(st.booleans()):
                known[field] = row[name] = draw(values)
        for field, name in (
            ("installed", "is_installed"),
            ("renting", "is_renting"),
            ("returning", "is_returning"),
        ):
            if draw(st.booleans()):
                known[field] = draw(st.booleans())
                row[name] = flag(known[field])
        row["last_reported"] = written(moment - 30)
        if major > 1:
            row["vehicle_types_available"] = [{"vehicle_type_id": "abc", "count": bikes}]
        rows.append(row)
        stations.append(Station(station_id, bikes, **known))
    body = {
        "last_updated": written(moment),
        "ttl": draw(st.integers(0, 300)),
        "version": f"{major}.0",
        "data": {"stations": rows},
    }
    return body, Poll("x", moment, NOW, stations)


@given(bodies())
def test_every_version_is_read_into_the_same_poll(case: tuple[dict[str, Any], Poll]) -> None:
    body, expected = case
    parsed = parse_station_status(json.dumps(body).encode(), "x", NOW)
    assert parsed.poll == expected
    assert parsed.rejections == ()
    assert parsed.ttl == body["ttl"]


@needs_shared_data
@pytest.mark.parametrize(
    ("name", "observed_at", "station"),
    [
        ("v2.0", 1434054678, Station("station 2", 6, docks=8, installed=True, renting=True, returning=True)),
        (
            "v3.0",
            1689593653,
            Station("station2", 6, 8, None, 1, 1, installed=True, renting=True, returning=True),
        ),
        (
            "v3.1-RC",
            1689593653,
            Station("station2", 6, 8, None, 1, 1, installed=True, renting=True, returning=True),
        ),
    ],
)
def test_the_examples_of_the_specification_are_read(name: str, observed_at: int, station: Station) -> None:
    parsed = parse_station_status((EXAMPLES / f"{name}_station_status.json").read_bytes(), "x", NOW)
    assert parsed.rejections == ()
    assert parsed.poll is not None
    assert parsed.poll.observed_at == observed_at
    assert len(parsed.poll.stations) == 2
    assert parsed.poll.stations[1] == station


@needs_shared_data
@pytest.mark.parametrize("name", ["v1.1", "v2.0", "v3.0", "v3.1-RC"])
def test_discovery_and_system_of_the_specification_are_read(name: str) -> None:
    feeds = parse_discovery((EXAMPLES / f"{name}_gbfs.json").read_bytes(), "https://www.example.com/x")
    assert set(feeds) == {"system_information", "station_information"}
    if name.startswith("v3"):
        body = (EXAMPLES / f"{name}_system_information.json").read_bytes()
        assert parse_system_id(body) == "example_cityname"


def _discovery(data: Any) -> bytes:
    return json.dumps({"last_updated": 1, "ttl": 0, "data": data}).encode()


def _feeds(*names_and_urls: tuple[str, str]) -> dict[str, Any]:
    return {"feeds": [{"name": name, "url": url} for name, url in names_and_urls]}


def test_discovery_takes_the_wished_language_else_the_first() -> None:
    body = _discovery({"nl": _feeds(("station_status", "/nl")), "en": _feeds(("station_status", "/en"))})
    assert parse_discovery(body, "http://host/gbfs.json") == {"station_status": "http://host/en"}
    assert parse_discovery(body, "http://host/gbfs.json", "nl") == {"station_status": "http://host/nl"}
    assert parse_discovery(body, "http://host/gbfs.json", "fr") == {"station_status": "http://host/nl"}


def test_discovery_leaves_out_addresses_that_are_not_http() -> None:
    addresses = [("station_status", "file:///etc/passwd"), ("free_bike_status", "http://host:99999/f.json")]
    body = _discovery(_feeds(*addresses, ("system_information", "s.json")))
    assert parse_discovery(body, "https://host/a/gbfs.json") == {
        "system_information": "https://host/a/s.json"
    }


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not_json"),
        (b"<html>503 Service Unavailable</html>", "not_json"),
        (b'{"last_updated": 1700000000, "data": {"stations": [', "not_json"),
        (b"\xff\xfe\x00", "not_json"),
        (b"[" * 100_000, "not_json"),
        (b"1" * 5000, "not_json"),
        (b"null", "missing_field"),
        (b"[]", "missing_field"),
        (b'{"error": "quota"}', "missing_field"),
        (b'{"last_updated": 1700000000, "data": null}', "missing_field"),
        (b'{"last_updated": 1700000000, "data": {}}', "missing_field"),
        (b'{"last_updated": 1700000000, "data": {"stations": {}}}', "missing_field"),
        (b'{"data": {"stations": []}}', "bad_time"),
        (b'{"last_updated": 1700000000000, "data": {"stations": []}}', "bad_time"),
        (b'{"last_updated": true, "data": {"stations": []}}', "bad_time"),
        (b'{"last_updated": "2023-07-17T13:34:13", "data": {"stations": []}}', "bad_time"),
        (b'{"last_updated": "yesterday", "data": {"stations": []}}', "bad_time"),
        (b'{"last_updated": NaN, "data": {"stations": []}}', "bad_time"),
        (b'{"last_updated": 1e400, "data": {"stations": []}}', "bad_time"),
        (b'{"last_updated": 1700000000, "data": {"stations": [{"station_id": "a"}]}}', "bad_station"),
        (b'{"last_updated": 1700000000, "data": {"stations": [{"num_bikes_available": 1}]}}', "bad_station"),
    ],
)
def test_what_is_no_poll_is_rejected_whole_with_its_reason(body: bytes, reason: str) -> None:
    parsed = parse_station_status(body, "x", NOW)
    assert parsed.poll is None
    (rejection,) = parsed.rejections
    assert (rejection.reason, rejection.body) == (reason, body)
    assert rejection.detail


def test_a_station_that_cannot_be_read_does_not_cost_the_others() -> None:
    broken: list[Any] = [
        {"station_id": "b", "num_bikes_available": -1},
        {"station_id": "c", "num_bikes_available": 1.5},
        {"station_id": "d", "num_bikes_available": True},
        {"station_id": "e" * 257, "num_bikes_available": 1},
        {"station_id": "\ud800", "num_bikes_available": 1},
        {"station_id": None, "num_bikes_available": 1},
        "station",
    ]
    good = {"station_id": "a", "num_bikes_available": 3}
    body = json.dumps({"last_updated": 1_700_000_000, "data": {"stations": [*broken, good]}}).encode()
    parsed = parse_station_status(body, "x", NOW)
    assert parsed.poll is not None
    assert parsed.poll.stations == [Station("a", 3)]
    (rejection,) = parsed.rejections
    assert rejection.reason == "bad_station"
    assert json.loads(rejection.body) == broken
    assert "7 of 8 stations" in rejection.detail


def test_an_optional_field_that_cannot_be_read_is_unknown() -> None:
    row = {"station_id": 17, "num_bikes_available": "4", "num_docks_available": -1, "is_renting": "yes"}
    body = json.dumps({"last_updated": "1700000000", "data": {"stations": [row]}}).encode()
    parsed = parse_station_status(body, "x", NOW)
    assert parsed.poll == Poll("x", 1_700_000_000, NOW, [Station("17", 4)])


@given(st.binary(max_size=300))
def test_no_bytes_make_the_parser_crash(body: bytes) -> None:
    parsed = parse_station_status(body, "x", NOW)
    assert parsed.poll is None
    assert parsed.rejections[0].body == body


@given(json_values, json_values, st.lists(st.dictionaries(
    st.sampled_from(["station_id", "num_bikes_available", "num_docks_available", "is_renting"]), json_values
), max_size=3))  # fmt: skip
def test_whatever_the_values_are_the_poll_can_be_sent(
    last_updated: Any, ttl: Any, stations: list[dict[str, Any]]
) -> None:
    body = {"last_updated": last_updated, "ttl": ttl, "data": {"stations": stations}}
    for candidate in (body, {**body, "last_updated": 1_700_000_000}):
        parsed = parse_station_status(json.dumps(candidate).encode(), "x", NOW)
        assert (parsed.poll is not None) or parsed.rejections
        if parsed.poll is not None:
            assert poll_pages(parsed.poll)


@given(json_values)
def test_discovery_and_system_information_of_any_json_are_read_or_refused(value: Any) -> None:
    for body in (json.dumps(value).encode(), _discovery(value), _discovery({"feeds": value})):
        with suppress(Unreadable):
            assert isinstance(parse_discovery(body, "http://host/"), dict)
        with suppress(Unreadable):
            assert parse_system_id(body)
