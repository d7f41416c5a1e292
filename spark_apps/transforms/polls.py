"""Kafka records to polls: the envelope of docs/schemas.md, parsed many at a time, judged one by one.

A poll table has one row per message:

| column | type | meaning |
|---|---|---|
| row | uint32 | which record of the input it was |
| system_id | string | |
| observed_at | int64 | when the feed says it was true, epoch seconds UTC |
| kafka_at | int64 | when the broker appended it, epoch milliseconds UTC |
| end_of_input | bool | the system will send no more; no stations |
| stations | list of (station_id string, bikes int32) | |
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.json as pj

from spark_apps.transforms.event_time import rejections
from spark_apps.transforms.text import decoded

SCHEMA_VERSION = 1
LATEST_TIME = 253_402_300_799
"""9999-12-31T23:59:59Z: what datetime types can hold."""

_STATION = pa.struct([("station_id", pa.string()), ("bikes", pa.int32())])
_ENVELOPE = pa.schema(
    [
        ("schema", pa.int64()),
        ("kind", pa.string()),
        ("system_id", pa.string()),
        ("observed_at", pa.int64()),
        ("stations", pa.list_(_STATION)),
    ]
)
_PARSE = pj.ParseOptions(explicit_schema=_ENVELOPE, unexpected_field_behavior="ignore")
_BLOCK = 1 << 20

STATIONS = pl.List(pl.Struct({"station_id": pl.String, "bikes": pl.Int32}))
POLLS: dict[str, pl.DataType | type[pl.DataType]] = {
    "row": pl.UInt32,
    "system_id": pl.String,
    "observed_at": pl.Int64,
    "kafka_at": pl.Int64,
    "end_of_input": pl.Boolean,
    "stations": STATIONS,
}


@dataclass(frozen=True)
class ParsedPolls:
    """The polls in the order of the records, and the records that are none (row, reason, detail)."""

    polls: pl.DataFrame
    rejected: pl.DataFrame


def parse_polls(values: Sequence[bytes | None], keys: pl.Series, kafka_at: pl.Series) -> ParsedPolls:
    """Parse records; whatever is not a valid poll comes back with its reason, the others are not disturbed.

    `keys` (binary) and `kafka_at` (epoch milliseconds) have one entry per record.
    """
    lines = _lines(values)
    tables, unparsed = _parse(lines, [row for row, line in enumerate(lines) if line])
    unusable = [row for row, line in enumerate(lines) if not line]
    rejected = [(row, *diagnose(values[row])) for row in sorted([*unparsed, *unusable])]
    if not tables:
        return ParsedPolls(pl.DataFrame(schema=POLLS), rejections(rejected))
    frame = pl.DataFrame(pl.from_arrow(pa.concat_tables([table for _, table in tables]))).with_columns(
        row=pl.Series([row for rows, _ in tables for row in rows], dtype=pl.UInt32)
    )
    frame = frame.with_columns(
        key=decoded(keys.gather(frame["row"])),
        kafka_at=kafka_at.gather(frame["row"]),
        end_of_input=pl.col("kind") == "end_of_input",
    )
    checked = frame.with_columns(reason=_problem())
    checked = checked.join(_bad_stations(checked), on="row", how="left", maintain_order="left").with_columns(
        reason=pl.coalesce("reason", "bad_station")
    )
    for row, reason in checked.filter(pl.col("reason").is_not_null()).select("row", "reason").iter_rows():
        detail = (
            diagnose(values[row])[1] if reason != "key_mismatch" else "the record's key is not its system_id"
        )
        rejected.append((row, reason, detail))
    polls = checked.filter(pl.col("reason").is_null()).select(list(POLLS)).sort("row")
    return ParsedPolls(polls, rejections(rejected))


def diagnose(value: bytes | None) -> tuple[str, str]:
    """Why one record is not a poll, as (reason, detail) for a person."""
    if not value:
        return "empty", "the record has no value"
    try:
        envelope = json.loads(value)
    except ValueError as error:
        return "not_json", str(error)
    except RecursionError:
        return "not_json", "nested too deeply"
    if not isinstance(envelope, dict):
        return "not_an_envelope", f"a JSON {type(envelope).__name__}, not an object"
    if envelope.get("schema") != SCHEMA_VERSION:
        return "unknown_schema", f"schema is {envelope.get('schema')!r}; this version reads {SCHEMA_VERSION}"
    if envelope.get("kind") not in ("poll", "end_of_input"):
        return "not_an_envelope", f"kind is {envelope.get('kind')!r}, not 'poll' or 'end_of_input'"
    if not isinstance(envelope.get("system_id"), str) or not envelope["system_id"]:
        return "not_an_envelope", f"system_id is {envelope.get('system_id')!r}, not a text"
    observed_at = envelope.get("observed_at")
    if type(observed_at) is not int or not 0 < observed_at <= LATEST_TIME:
        return "bad_time", f"observed_at is {observed_at!r}, not epoch seconds"
    stations = envelope.get("stations")
    if envelope["kind"] == "poll" and not isinstance(stations, list):
        return "not_an_envelope", f"stations is {stations!r}, not a list"
    for number, station in enumerate(stations or []):
        problem = _station_problem(station)
        if problem:
            return "bad_station", f"stations[{number}]: {problem}"
    return "not_an_envelope", "a field has an unexpected type, is there twice, or holds half a surrogate pair"


def _station_problem(station: Any) -> str | None:
    if not isinstance(station, dict):
        return f"{station!r} is not an object"
    if not isinstance(station.get("station_id"), str) or not station["station_id"]:
        return f"station_id is {station.get('station_id')!r}, not a text"
    bikes = station.get("bikes")
    if type(bikes) is not int or not 0 <= bikes < 1 << 31:
        return f"bikes is {bikes!r}, not a count from 0"
    return None


def _lines(values: Sequence[bytes | None]) -> list[bytes | None]:
    """Each value as one line that is one object, or None where it is none.

    A value over several lines would shift every line after it, and so would one that is cut off after a bracket, of
    which the next line may be the rest. And only what begins with an object may reach Arrow's JSON reader: it dies
    of a segmentation fault, and the task with it, on a lone `null`; it also lets through what is not UTF-8, of which
    a state can be made but not read back.
    """
    given = [value for value in values if value]
    text = b"\n".join(given)
    between = len(given) - 1
    if (  # nearly always, and seen at once
        (text[:1], text[-1:]) == (b"{", b"}")
        and text.count(b"\n") == text.count(b"}\n{") == between
        and b"\r" not in text
        and _is_utf8(text)
    ):
        return [value or None for value in values]
    return [value if value and _is_one_line(value) else _rewritten(value) for value in values]


def _is_one_line(value: bytes) -> bool:
    is_object = (value[:1], value[-1:]) == (b"{", b"}")
    return is_object and b"\n" not in value and b"\r" not in value and _is_utf8(value)


def _is_utf8(text: bytes) -> bool:
    if text.isascii():  # nearly always, and told without making a copy
        return True
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _rewritten(value: bytes | None) -> bytes | None:
    """JSON written in another way (indented, with space around it) as one line; None for anything but an object."""
    try:
        content = json.loads(value) if value else None
    except (ValueError, RecursionError):
        return None
    return json.dumps(content).encode() if isinstance(content, dict) else None


def _parse(
    values: Sequence[bytes | None], rows: list[int]
) -> tuple[list[tuple[list[int], pa.Table]], list[int]]:
    """Tables of the rows that parse, in order, and the rows that do not; halves what fails."""
    if not rows:
        return [], []
    chosen = [value for row in rows if (value := values[row])]
    options = pj.ReadOptions(block_size=max(_BLOCK, 2 * max(map(len, chosen))))
    try:
        table = pj.read_json(pa.BufferReader(b"\n".join(chosen)), read_options=options, parse_options=_PARSE)
    except pa.ArrowInvalid:
        table = None
    if table is not None and table.num_rows == len(rows):
        return [(rows, table)], []
    if len(rows) == 1:
        return [], rows
    middle = len(rows) // 2
    (left, left_bad), (right, right_bad) = _parse(values, rows[:middle]), _parse(values, rows[middle:])
    return left + right, left_bad + right_bad


def _problem() -> pl.Expr:
    """The first thing wrong with an envelope, or null."""
    is_poll = pl.col("kind") == "poll"
    return (
        pl.when(pl.col("schema").ne_missing(SCHEMA_VERSION))
        .then(pl.lit("unknown_schema"))
        .when(~pl.col("kind").is_in(["poll", "end_of_input"]).fill_null(False))
        .then(pl.lit("not_an_envelope"))
        .when(pl.col("system_id").fill_null("") == "")
        .then(pl.lit("not_an_envelope"))
        .when(~pl.col("observed_at").is_between(1, LATEST_TIME).fill_null(False))
        .then(pl.lit("bad_time"))
        .when(is_poll & pl.col("stations").is_null())
        .then(pl.lit("not_an_envelope"))
        .when(pl.col("key").ne_missing(pl.col("system_id")))
        .then(pl.lit("key_mismatch"))
    )


def _bad_stations(frame: pl.DataFrame) -> pl.DataFrame:
    """The rows that have a station without an id or without a count from 0."""
    stations = frame.select("row", "stations").filter(pl.col("stations").list.len() > 0)
    flat = stations.explode("stations").unnest("stations")
    bad = flat.filter(
        (pl.col("station_id").fill_null("") == "") | pl.col("bikes").is_null() | (pl.col("bikes") < 0)
    )
    return bad.select("row", bad_station=pl.lit("bad_station")).unique()
