"""Pages of the Seoul bikeList API.

A page is `{"rentBikeStatus": {"list_total_count": n, "RESULT": {"CODE", "MESSAGE"}, "row": [...]}}`; an error
comes inside `rentBikeStatus` or as `{"RESULT": {...}}` at the top. All fields of a row are text.
`list_total_count` counts the rows of this page, not of all. Source: Seoul Open Data Plaza, bikeList.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from millrace.feeds.model import Rejection, Station, Unreadable
from millrace.feeds.reading import count, identifier, load_json

ROWS_PER_PAGE = 1000
OK = "INFO-000"
NO_DATA = "INFO-200"


class ErrorReply(Unreadable):
    """The API answered with an error code of its own."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__("error_reply", f"{code}: {message}")
        self.code = code


@dataclass(frozen=True, slots=True)
class SeoulPage:
    """One page: its readable stations, how many rows it had in all, and what could not be read."""

    stations: list[Station]
    rows: int
    rejections: tuple[Rejection, ...] = ()

    @property
    def is_last(self) -> bool:
        """A full page may be followed by another; a page beyond the last row says INFO-200."""
        return self.rows < ROWS_PER_PAGE


def parse_page(body: bytes) -> SeoulPage:
    """One page of bikeList. Raises Unreadable (not JSON, missing fields) or ErrorReply (an error code)."""
    reply = load_json(body)
    if not isinstance(reply, dict):
        raise Unreadable("missing_field", "the reply is not an object")
    status = reply.get("rentBikeStatus")
    holder = status if isinstance(status, dict) else reply
    result = holder.get("RESULT", reply.get("RESULT"))
    if isinstance(result, dict) and isinstance(result.get("CODE"), str):
        code = result["CODE"][:40]
        if code == NO_DATA:
            return SeoulPage([], 0)
        if code != OK:
            raise ErrorReply(code, str(result.get("MESSAGE", ""))[:200])
    if not isinstance(status, dict) or not isinstance(status.get("row"), list):
        keys = ", ".join(map(str, reply))[:200] or "no keys"
        raise Unreadable("missing_field", f"the reply has no rentBikeStatus.row (it has {keys})")
    return _rows(status["row"])


def _rows(rows: list[Any]) -> SeoulPage:
    good: list[Station] = []
    bad: list[object] = []
    first_problem = ""
    for number, row in enumerate(rows):
        try:
            good.append(_station(row))
        except Unreadable as error:
            bad.append(row)
            first_problem = first_problem or f"row {number} (from 0): {error.detail}"
    rejections: tuple[Rejection, ...] = ()
    if bad:
        detail = f"{len(bad)} of {len(rows)} rows cannot be read; {first_problem}"
        rejections = (Rejection("bad_station", detail, json.dumps(bad).encode("ascii")),)
    return SeoulPage(good, len(rows), rejections)


def _station(row: object) -> Station:
    if not isinstance(row, dict):
        raise Unreadable("missing_field", "it is not an object")
    station_id = identifier(row.get("stationId"), "stationId")
    bikes = count(row.get("parkingBikeTotCnt"))
    if bikes is None:
        raise Unreadable(
            "missing_field", f"parkingBikeTotCnt of {station_id[:60]!r} is missing or not a count"
        )
    racks = count(row.get("rackTotCnt"))
    # More bikes than racks is usual: they are also parked beside, so free docks end at zero.
    return Station(station_id, bikes, docks=None if racks is None else max(0, racks - bikes))
