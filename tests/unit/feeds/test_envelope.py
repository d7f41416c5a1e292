import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from millrace.feeds.envelope import EndOfInput, Page, decode, end_of_input, load_schema, poll_pages
from millrace.feeds.model import Poll, Station, Unreadable
from tests.unit.feeds.strategies import ids, json_values, polls, times

SCHEMA = Draft202012Validator(load_schema("station_polls"))


@pytest.mark.parametrize("name", ["station_polls", "dead_letters"])
def test_the_schemas_are_valid_schemas(name: str) -> None:
    Draft202012Validator.check_schema(load_schema(name))


@given(polls)
def test_a_poll_comes_back_as_it_was_and_follows_the_schema(poll: Poll) -> None:
    (value,) = poll_pages(poll)
    SCHEMA.validate(json.loads(value))
    assert decode(value) == Page(poll, 0, 1)


@given(polls)
def test_what_is_unknown_is_left_out_never_null(poll: Poll) -> None:
    for value in poll_pages(poll):
        for sent, station in zip(json.loads(value)["stations"], poll.stations, strict=True):
            assert sent == {key: known for key, known in station._asdict().items() if known is not None}


@pytest.mark.parametrize(
    ("stations", "sizes"),
    [(0, [0]), (1, [1]), (999, [999]), (1000, [1000]), (1001, [1000, 1]), (2735, [1000, 1000, 735])],
)
def test_a_page_holds_at_most_a_thousand_stations(stations: int, sizes: list[int]) -> None:
    poll = Poll("big", 1_700_000_000, 1_700_000_001, [Station(str(n), n) for n in range(stations)])
    pages = [decode(value) for value in poll_pages(poll)]
    assert all(isinstance(page, Page) for page in pages)
    assert [len(page.poll.stations) for page in pages if isinstance(page, Page)] == sizes
    assert [(page.page, page.pages) for page in pages if isinstance(page, Page)] == [
        (number, len(sizes)) for number in range(len(sizes))
    ]
    joined = [station for page in pages if isinstance(page, Page) for station in page.poll.stations]
    assert joined == list(poll.stations)


@given(ids, times)
def test_the_end_of_input_comes_back_as_it_was(system_id: str, observed_at: int) -> None:
    value = end_of_input(system_id, observed_at)
    SCHEMA.validate(json.loads(value))
    assert decode(value) == EndOfInput(system_id, observed_at)


def test_the_bytes_of_an_envelope_are_as_agreed() -> None:
    poll = Poll("city", 10, 11, [Station("a", 5, docks=6, ebikes=1, installed=True, renting=False)])
    assert poll_pages(poll) == [
        b'{"schema":1,"kind":"poll","system_id":"city","observed_at":10,"fetched_at":11,"page":0,"pages":1,'
        b'"stations":[{"station_id":"a","bikes":5,"docks":6,"ebikes":1,"installed":true,"renting":false}]}'
    ]
    assert end_of_input("city", 10) == (
        b'{"schema":1,"kind":"end_of_input","system_id":"city","observed_at":10}'
    )


GOOD = json.loads(poll_pages(Poll("city", 10, 11, [Station("a", 5)]))[0])


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 2},
        {"kind": "pole"},
        {"system_id": ""},
        {"system_id": 7},
        {"observed_at": 1_700_000_000_000},
        {"observed_at": "10"},
        {"page": 1},
        {"pages": 0},
        {"stations": None},
        {"stations": [{"bikes": 5}]},
        {"stations": [{"station_id": "a"}]},
        {"stations": [{"station_id": "a", "bikes": -1}]},
        {"stations": [{"station_id": "a", "bikes": None}]},
        {"stations": [{"station_id": "a", "bikes": True}]},
        {"stations": [{"station_id": "a", "bikes": 1, "docks": None}]},
        {"stations": [{"station_id": "a", "bikes": 1, "bicycles": 1}]},
        {"stations": [{"station_id": "a", "bikes": 1, "renting": 1}]},
        {"stations": [{"station_id": "a", "bikes": 1}] * 1001},
        {"extra": 1},
    ],
)
def test_an_envelope_that_breaks_the_contract_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(Unreadable):
        decode(json.dumps({**GOOD, **change}).encode())


@given(json_values)
def test_no_json_value_makes_the_decoder_crash(value: Any) -> None:
    with pytest.raises(Unreadable):
        decode(json.dumps(value).encode())


@given(st.binary(max_size=200))
def test_no_bytes_make_the_decoder_crash(body: bytes) -> None:
    with pytest.raises(Unreadable):
        decode(body)
