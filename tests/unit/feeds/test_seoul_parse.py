import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.feeds.model import Station, Unreadable
from millrace.feeds.seoul.parse import ErrorReply, parse_page
from tests.unit.feeds.shared_data import DIRECTORY, needs_shared_data
from tests.unit.feeds.strategies import json_values


def row(number: int, bikes: str = "3", racks: str = "10") -> dict[str, str]:
    return {"stationId": f"ST-{number}", "parkingBikeTotCnt": bikes, "rackTotCnt": racks, "shared": "30"}


def page(rows: list[Any], code: str = "INFO-000") -> bytes:
    status = {"list_total_count": len(rows), "RESULT": {"CODE": code, "MESSAGE": "ok"}, "row": rows}
    return json.dumps({"rentBikeStatus": status}).encode()


@needs_shared_data
def test_a_real_reply_is_read() -> None:
    found = parse_page((DIRECTORY / "seoul_bikeList_sample_1_5.json").read_bytes())
    assert found.stations[0] == Station("ST-4", 16, docks=0)  # 15 racks, 16 bikes
    assert found.stations[2] == Station("ST-6", 1, docks=12)
    assert (len(found.stations), found.rows, found.is_last, found.rejections) == (5, 5, True, ())


def test_only_a_page_with_fewer_than_a_thousand_rows_is_the_last() -> None:
    assert not parse_page(page([row(n) for n in range(1000)])).is_last
    assert parse_page(page([row(n) for n in range(999)])).is_last


def test_a_row_that_cannot_be_read_counts_as_a_row_and_is_rejected_alone() -> None:
    found = parse_page(page([row(n) for n in range(999)] + [{"stationId": "ST-x"}]))
    assert not found.is_last
    assert len(found.stations) == 999
    assert json.loads(found.rejections[0].body) == [{"stationId": "ST-x"}]


@pytest.mark.parametrize(
    "reply",
    [
        {"RESULT": {"CODE": "INFO-200", "MESSAGE": "해당하는 데이터가 없습니다."}},
        {"rentBikeStatus": {"RESULT": {"CODE": "INFO-200", "MESSAGE": "no data"}}},
    ],
)
def test_no_data_is_an_empty_last_page(reply: dict[str, Any]) -> None:
    found = parse_page(json.dumps(reply).encode())
    assert (found.stations, found.is_last) == ([], True)


@pytest.mark.parametrize("code", ["INFO-100", "ERROR-300", "ERROR-331", "ERROR-500", "ERROR-600"])
@pytest.mark.parametrize("at_top", [True, False])
def test_error_codes_of_both_shapes_are_errors(code: str, at_top: bool) -> None:
    result = {"RESULT": {"CODE": code, "MESSAGE": "no"}}
    with pytest.raises(ErrorReply) as caught:
        parse_page(json.dumps(result if at_top else {"rentBikeStatus": result}).encode())
    assert caught.value.code == code
    assert caught.value.reason == "error_reply"


@pytest.mark.parametrize(
    "body", [b"", b"<RESULT><CODE>INFO-100</CODE></RESULT>", b"[]", b"{}", b'{"row": []}']
)
def test_what_is_no_page_is_refused(body: bytes) -> None:
    with pytest.raises(Unreadable):
        parse_page(body)


@given(json_values)
def test_any_json_is_a_page_or_refused(value: Any) -> None:
    for reply in (value, {"rentBikeStatus": value}, {"rentBikeStatus": {"row": value}}, {"RESULT": value}):
        with suppress(Unreadable):
            assert parse_page(json.dumps(reply).encode()).rows >= 0


@given(st.binary(max_size=200))
def test_no_bytes_make_the_parser_crash(body: bytes) -> None:
    with pytest.raises(Unreadable):
        parse_page(body)
