"""The messages of topic `station_polls`: one JSON envelope per page of a poll.

The JSON Schema beside this file is the contract with everything that reads the topic; `decode` checks
against it, and what `poll_pages` and `end_of_input` make passes it (tests hold them to that).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from millrace.feeds.model import Poll, Station, Unreadable
from millrace.feeds.reading import load_json

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

SCHEMA_VERSION = 1
STATIONS_PER_PAGE = 1000
"""One message stays near 150 kB, far below what a broker takes, and a system of 10,000 stations is ten."""


@dataclass(frozen=True, slots=True)
class Page:
    """A decoded envelope of kind `poll`: the poll as far as this page holds it, and which page it is."""

    poll: Poll
    page: int
    pages: int


@dataclass(frozen=True, slots=True)
class EndOfInput:
    """A decoded envelope of kind `end_of_input`: nothing more comes from this system. Epoch seconds UTC."""

    system_id: str
    observed_at: int


def poll_pages(poll: Poll) -> list[bytes]:
    """The envelopes of a poll, in order; a poll without stations is one empty page."""
    stations = poll.stations
    pages = max(1, -(-len(stations) // STATIONS_PER_PAGE))
    return [
        b'{"schema":%d,"kind":"poll","system_id":%s,"observed_at":%d,"fetched_at":%d,"page":%d,"pages":%d,'
        b'"stations":[%s]}'
        % (
            SCHEMA_VERSION,
            _json(poll.system_id),
            poll.observed_at,
            poll.fetched_at,
            page,
            pages,
            b",".join(
                map(_station_json, stations[page * STATIONS_PER_PAGE : (page + 1) * STATIONS_PER_PAGE])
            ),
        )
        for page in range(pages)
    ]


def end_of_input(system_id: str, observed_at: int) -> bytes:
    """The envelope that says that a system's input is over; `observed_at` is that of its newest poll."""
    return b'{"schema":%d,"kind":"end_of_input","system_id":%s,"observed_at":%d}' % (
        SCHEMA_VERSION,
        _json(system_id),
        observed_at,
    )


def decode(value: bytes) -> Page | EndOfInput:
    """Read an envelope, checking it against the schema. Raises Unreadable saying what is wrong where."""
    envelope = load_json(value)
    problem = _first_problem(_validator("station_polls"), envelope)
    if problem:
        raise Unreadable("not_an_envelope", problem)
    if envelope["kind"] == "end_of_input":
        return EndOfInput(envelope["system_id"], envelope["observed_at"])
    if envelope["page"] >= envelope["pages"]:
        raise Unreadable("not_an_envelope", f"page {envelope['page']} of {envelope['pages']} (from 0)")
    stations = tuple(Station(**station) for station in envelope["stations"])
    poll = Poll(envelope["system_id"], envelope["observed_at"], envelope["fetched_at"], stations)
    return Page(poll, envelope["page"], envelope["pages"])


def load_schema(name: str) -> dict[str, Any]:
    """The JSON Schema of a topic's messages: `station_polls`, `posts` or `dead_letters`."""
    text = resources.files("millrace.feeds").joinpath(f"{name}.schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


@cache
def _validator(name: str) -> Validator:
    from jsonschema import Draft202012Validator

    return Draft202012Validator(load_schema(name))


def _first_problem(validator: Validator, value: Any) -> str | None:
    from jsonschema.exceptions import best_match

    error = best_match(validator.iter_errors(value))
    if error is None:
        return None
    message = error.message if len(error.message) <= 200 else error.message[:197] + "..."
    return f"{error.json_path}: {message}"


@lru_cache(maxsize=1 << 16)
def _station_json(station: Station) -> bytes:
    # Cached, because it is most of the work and few stations change from one poll to the next.
    return _json({key: value for key, value in station._asdict().items() if value is not None})


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
