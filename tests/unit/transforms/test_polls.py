import json

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spark_apps.transforms.polls import diagnose, parse_polls

GOOD = {
    "schema": 1,
    "kind": "poll",
    "system_id": "x",
    "observed_at": 1000,
    "stations": [{"station_id": "a", "bikes": 3}],
}


def parsed(
    *values: bytes | None, key: bytes | None = b"x"
) -> tuple[list[tuple[int, int]], list[tuple[int, str]]]:
    """(row, observed_at) of the polls, (row, reason) of the others."""
    result = parse_polls(
        values, pl.Series([key] * len(values), dtype=pl.Binary), pl.Series([0] * len(values), dtype=pl.Int64)
    )
    return (
        list(result.polls.select("row", "observed_at").iter_rows()),
        list(result.rejected.select("row", "reason").iter_rows()),
    )


def with_(**changes: object) -> bytes:
    return json.dumps(GOOD | changes).encode()


BROKEN = {
    "empty": None,
    "not_json": b"{",
    "unknown_schema": with_(schema=2),
    "not_an_envelope": with_(kind="query"),
    "bad_time": with_(observed_at="1000"),
    "bad_station": with_(stations=[{"station_id": "a", "bikes": 3}, {"station_id": "b", "bikes": -1}]),
}


@pytest.mark.parametrize(("reason", "value"), BROKEN.items())
def test_a_bad_message_is_rejected_with_its_reason_and_disturbs_no_other(
    reason: str, value: bytes | None
) -> None:
    polls, rejected = parsed(with_(observed_at=1), value, with_(observed_at=3))
    assert polls == [(0, 1), (2, 3)]
    assert rejected == [(1, reason)]


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b" ",
        b"null",
        b"[]",
        b"{}",
        b"5",
        b"\xff\xfe",
        with_(system_id=None),
        with_(system_id=""),
        with_(stations=None),
        with_(stations={}),
        with_(stations=[None]),
        with_(stations=[{"bikes": 3}]),
        with_(stations=[{"station_id": "a"}]),
        with_(stations=[{"station_id": "a", "bikes": None}]),
        with_(stations=[{"station_id": "", "bikes": 1}]),
        with_(stations=[{"station_id": "a", "bikes": 1.5}]),
        with_(stations=[{"station_id": "a", "bikes": 1 << 31}]),
        with_(observed_at=0),
        with_(observed_at=1 << 62),
        with_(observed_at=1e3),
        with_() + b"\n" + with_(),
        with_() + with_(),
        with_().replace(b'"a"', b'"\xff"'),
        with_().replace(b'"a"', b'"\xed\xa0\x80"'),
        with_(more="?").replace(b"?", b"\xff"),
        with_().replace(b'"a"', b'"\\ud800"'),
        with_().replace(b'"a"', b'"a\x00"'),
        with_().replace(b"1000", b"NaN"),
        with_().replace(b'"bikes": 3', b'"bikes": 3, "bikes": 4'),
    ],
)
def test_nothing_strange_passes_or_shifts_its_neighbours(value: bytes) -> None:
    polls, rejected = parsed(with_(observed_at=1), value, b"", with_(observed_at=4))
    assert polls == [(0, 1), (3, 4)]
    assert [row for row, _ in rejected] == [1, 2]


def test_a_message_in_two_halves_is_no_message_beside_two_messages_in_one() -> None:
    """Arrow's JSON reader makes as many rows of these three lines as there are lines."""
    cut = with_().index(b"[") + 1
    halves = [with_()[:cut], with_()[cut:]]
    assert parsed(*halves, with_() + with_()) == ([], [(row, "not_json") for row in range(3)])


def test_a_key_that_is_not_the_system_is_rejected() -> None:
    for key in (b"y", None, b"\xff\xfe"):
        assert parsed(with_(), key=key)[1] == [(0, "key_mismatch")]


def test_fields_that_are_not_known_do_not_matter() -> None:
    assert parsed(with_(page=0, extra={"deep": [1]}))[0] == [(0, 1000)]


def test_a_poll_without_stations_is_a_poll() -> None:
    assert parsed(with_(stations=[]))[0] == [(0, 1000)]


def test_the_detail_names_the_place() -> None:
    assert "stations[1]" in diagnose(BROKEN["bad_station"])[1]


def test_an_end_of_input_needs_no_stations() -> None:
    value = json.dumps({"schema": 1, "kind": "end_of_input", "system_id": "x", "observed_at": 5}).encode()
    assert parsed(value)[0] == [(0, 5)]


values = st.one_of(
    st.sampled_from(list(BROKEN.values())),
    st.integers(1, 10**9).map(lambda t: with_(observed_at=t)),
    st.binary(max_size=8),
)


@given(st.lists(values, max_size=12))
def test_together_and_one_by_one_give_the_same(messages: list[bytes | None]) -> None:
    polls, rejected = parsed(*messages)
    alone = [parsed(message) for message in messages]
    assert polls == [(row, found[0][1]) for row, (found, _) in enumerate(alone) if found]
    assert rejected == [(row, bad[0][1]) for row, (_, bad) in enumerate(alone) if bad]


def test_json_may_be_written_over_several_lines_or_with_space_around_it() -> None:
    indented = json.dumps(GOOD | {"observed_at": 7}, indent=2).encode()
    assert parsed(with_(), indented, b"  " + with_(observed_at=8) + b"\r\n", b"\n", with_(observed_at=9)) == (
        [(0, 1000), (1, 7), (2, 8), (4, 9)],
        [(3, "not_json")],
    )


@pytest.mark.parametrize("value", [b"null", b" null", b"null\n", b"{} null", b"null {}"])
def test_a_lone_null_does_not_end_the_process(value: bytes) -> None:
    """Arrow's JSON reader does not survive it; all of a batch may be nothing else."""
    assert len(parsed(value)[1]) == 1
    assert len(parsed(value, value, value)[1]) == 3


def test_brackets_within_brackets_are_told_and_do_not_end_the_batch() -> None:
    assert parsed(b'{"x":' + 5000 * b"[") == ([], [(0, "not_json")])
