"""GBFS bodies of any version as plain values.

What differs between the versions: discovery by language (1, 2) or flat (3); times as epoch seconds (1, 2) or
ISO 8601 (3); flags as 1/0 (1) or booleans (2, 3); bikes (1, 2) or vehicles (3). Every form is read wherever
it occurs, because real systems mix them: the specification's own 2.0 example calls itself 3.0.
Source: the GBFS specification, files gbfs.json, station_status.json and system_information.json.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urljoin

from millrace.feeds.model import Parsed, Poll, Rejection, Station, Unreadable
from millrace.feeds.reading import count, epoch_seconds, flag, identifier, is_http_url, load_json

_MAX_TTL = 24 * 3600


def parse_discovery(body: bytes, base_url: str, language: str = "en") -> dict[str, str]:
    """Feed name to absolute URL, from a gbfs.json. Raises Unreadable.

    Of several languages the wished one is taken, else the first: the counts are the same in all.
    """
    data = _data(load_json(body))
    if "feeds" not in data:
        languages = {
            key: value for key, value in data.items() if isinstance(value, dict) and "feeds" in value
        }
        if not languages:
            raise Unreadable("missing_field", "gbfs.json has neither data.feeds nor data.<language>.feeds")
        data = languages.get(language) or next(iter(languages.values()))
    feeds = data["feeds"]
    if not isinstance(feeds, list):
        raise Unreadable("missing_field", "feeds of gbfs.json is not a list")
    found: dict[str, str] = {}
    for feed in feeds:
        if not isinstance(feed, dict):
            continue
        name, url = feed.get("name"), feed.get("url")
        if isinstance(name, str) and isinstance(url, str):
            try:
                absolute = urljoin(base_url, url.strip())
            except ValueError:
                continue
            if is_http_url(absolute):
                found.setdefault(name.removesuffix(".json"), absolute)
    return found


def parse_system_id(body: bytes) -> str:
    """The system_id of a system_information.json. Raises Unreadable."""
    return identifier(_data(load_json(body)).get("system_id"), "data.system_id")


def parse_station_status(body: bytes, system_id: str, fetched_at: int) -> Parsed:
    """A station_status.json as a poll; never raises, whatever the bytes are."""
    try:
        return status_to_poll(load_json(body), system_id, fetched_at)
    except Unreadable as error:
        return Parsed(None, (Rejection(error.reason, error.detail, body),))


def status_to_poll(reply: object, system_id: str, fetched_at: int) -> Parsed:
    """The same from the decoded JSON value. Raises Unreadable when there is no poll in it.

    A station that cannot be read does not cost the others: it goes into a rejection of its own.
    """
    data = _data(reply)
    assert isinstance(reply, Mapping)
    stations = data.get("stations")
    if not isinstance(stations, list):
        raise Unreadable("missing_field", "data.stations is missing or not a list")
    observed_at = epoch_seconds(reply.get("last_updated"), "last_updated")
    good: list[Station] = []
    bad: list[object] = []
    first_problem = ""
    for number, station in enumerate(stations):
        try:
            good.append(_station(station))
        except Unreadable as error:
            bad.append(station)
            first_problem = first_problem or f"station {number} (from 0): {error.detail}"
    if bad and not good:
        raise Unreadable("bad_station", f"none of {len(bad)} stations can be read; {first_problem}")
    rejections: tuple[Rejection, ...] = ()
    if bad:
        detail = f"{len(bad)} of {len(stations)} stations cannot be read; {first_problem}"
        rejections = (Rejection("bad_station", detail, json.dumps(bad).encode("ascii")),)
    return Parsed(Poll(system_id, observed_at, fetched_at, good), rejections, _ttl(reply))


def _station(value: object) -> Station:
    if not isinstance(value, dict):
        raise Unreadable("missing_field", "it is not an object")
    get = value.get
    station_id = identifier(get("station_id"), "station_id")
    raw = _either(value, "num_bikes_available", "num_vehicles_available")
    bikes = count(raw)
    if bikes is None:
        what = "is missing" if raw is None else f"is {str(raw)[:40]!r}, not a count"
        raise Unreadable("missing_field", f"num_bikes_available of {station_id[:60]!r} {what}")
    return Station(
        station_id,
        bikes,
        docks=count(get("num_docks_available")),
        ebikes=count(get("num_ebikes_available")),
        bikes_disabled=count(_either(value, "num_bikes_disabled", "num_vehicles_disabled")),
        docks_disabled=count(get("num_docks_disabled")),
        installed=flag(get("is_installed")),
        renting=flag(get("is_renting")),
        returning=flag(get("is_returning")),
    )


def _either(station: dict[str, Any], bikes: str, vehicles: str) -> object:
    """The field by its name in versions 1 and 2, else in 3. Some write both, and null in the one they do not use."""
    value = station.get(bikes)
    return station.get(vehicles) if value is None else value


def _data(reply: object) -> dict[str, Any]:
    if not isinstance(reply, dict):
        raise Unreadable("missing_field", f"the reply is {_kind(reply)}, not an object")
    data = reply.get("data")
    if not isinstance(data, dict):
        keys = ", ".join(map(str, reply))[:200] or "no keys"
        raise Unreadable("missing_field", f"the reply has no object `data` (it has {keys})")
    return data


def _ttl(reply: Mapping[str, Any]) -> int | None:
    ttl = count(reply.get("ttl"))
    return None if ttl is None else min(ttl, _MAX_TTL)


def _kind(value: object) -> str:
    if isinstance(value, list):
        return "a list"
    return "null" if value is None else f"a {type(value).__name__}"
