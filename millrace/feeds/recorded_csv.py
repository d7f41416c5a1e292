"""The change-only CSV pair of a recording as polls; the form is described in `recorded.py`."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from millrace.feeds.compressed import Lines, RecordedError
from millrace.feeds.model import Poll, Station
from millrace.feeds.reading import count, epoch_seconds, flag, identifier


def read_changes(
    polls: Path,
    changes: Path,
    stations: Path | None,
    system_id: str,
    on_read: Callable[[Path, int], None] | None = None,
) -> Iterator[Poll]:
    """Every poll of the pair, in order, with the last values of each station carried forward."""
    ids = _station_ids(stations) if stations else {}
    present: dict[str, Station] = {}
    with Lines(changes) as (lines, below):
        rows = _change_rows(changes, lines, ids)
        waiting = next(rows, None)
        for poll, observed_at, fetched_at in poll_rows(polls):
            while waiting is not None and waiting[0] <= poll:
                _, station_id, values = waiting
                if values is None:
                    present.pop(station_id, None)
                else:
                    present[station_id] = Station(station_id, *values)
                waiting = next(rows, None)
            if on_read is not None:
                on_read(changes, below.tell())
            yield Poll(system_id, observed_at, fetched_at, tuple(present.values()))
        if waiting is not None:
            raise RecordedError(f"{changes} has changes of poll {waiting[0]}, which {polls} does not have")


def poll_rows(path: Path) -> Iterator[tuple[int, int, int]]:
    """(poll, observed_at, fetched_at) of every row, in the order of the polls; times in epoch seconds UTC."""
    last: int | None = None
    with Lines(path) as (lines, _):
        for number, row in _named_rows(path, lines):
            try:
                poll, observed_at = (
                    _poll(row["poll"], last),
                    epoch_seconds(row["last_updated"], "last_updated"),
                )
                committed = row.get("committed_at") or row["last_updated"]
                fetched_at = epoch_seconds(committed, "committed_at")
                if poll == last:
                    raise ValueError(f"poll {poll} is there twice")
            except ValueError as error:
                raise RecordedError(f"{path}:{number}: {error}") from None
            last = poll
            yield poll, observed_at, fetched_at


_FIELDS: tuple[tuple[str, Callable[[object], object]], ...] = (
    ("bikes", count),
    ("docks", count),
    ("ebikes", count),
    ("bikes_disabled", count),
    ("docks_disabled", count),
    ("installed", lambda text: flag(count(text))),
    ("renting", lambda text: flag(count(text))),
    ("returning", lambda text: flag(count(text))),
)
"""The fields of a Station after its id, in its order."""


def _change_rows(
    path: Path, lines: IO[bytes], ids: dict[str, str]
) -> Iterator[tuple[int, str, tuple[Any, ...] | None]]:
    """(poll, station_id, the Station's values or None for absent) of every row; `ids` by station_no, else it is the id.

    By position and through a memory of the rows seen: 2.6 million rows, but few different ones.
    """
    rows = _rows(path, lines)
    _, header = next(rows)
    if "bikes" not in header:
        raise RecordedError(f"{path}:1: the header has no column 'bikes'")
    known: dict[tuple[str, ...], tuple[Any, ...]] = {}
    last: int | None = None
    for number, row in rows:
        texts = tuple(row[2:])
        values = known.get(texts)
        try:
            if len(row) != len(header):
                raise ValueError(f"{len(row)} columns, the header has {len(header)}")
            last = _poll(row[0], last)
            station_id = ids.get(row[1])
            if station_id is None:
                station_id = ids[row[1]] = identifier(row[1], "station_no")
            if values is None and any(texts):
                values = _station_values(dict(zip(header[2:], texts, strict=True)))
                if len(known) < 1 << 18:
                    known[texts] = values
        except ValueError as error:
            raise RecordedError(f"{path}:{number}: {error}") from None
        yield last, station_id, values


def _station_values(row: dict[str, str]) -> tuple[Any, ...]:
    values = tuple(read(row.get(name, "")) for name, read in _FIELDS)
    if values[0] is None:
        raise ValueError(f"bikes is {row['bikes']!r}, not a count")
    return values


def _poll(text: str, last: int | None) -> int:
    """The number of a poll, which must not be smaller than the one before."""
    try:
        poll = int(text)
    except ValueError:
        raise ValueError(f"poll is {text!r}, not a number") from None
    if last is not None and poll < last:
        raise ValueError(f"poll {poll} after poll {last}: the rows must be in the order of the polls")
    return poll


def _station_ids(path: Path) -> dict[str, str]:
    """station_id by station_no."""
    ids: dict[str, str] = {}
    numbers: dict[str, str] = {}
    with Lines(path) as (lines, _):
        for number, row in _named_rows(path, lines):
            try:
                station_id = identifier(row["station_id"], "station_id")
                if numbers.setdefault(station_id, row["station_no"]) != row["station_no"]:
                    raise ValueError(f"station_id {station_id!r} is also that of {numbers[station_id]}")
            except ValueError as error:
                raise RecordedError(f"{path}:{number}: {error}") from None
            ids[row["station_no"]] = station_id
    return ids


def _named_rows(path: Path, lines: IO[bytes]) -> Iterator[tuple[int, dict[str, str]]]:
    """(line, values by the names of the header) of every row."""
    rows = _rows(path, lines)
    _, header = next(rows)
    for number, row in rows:
        if len(row) != len(header):
            raise RecordedError(f"{path}:{number}: {len(row)} columns, the header has {len(header)}")
        yield number, dict(zip(header, row, strict=True))


def _rows(path: Path, lines: IO[bytes]) -> Iterator[tuple[int, list[str]]]:
    """(line, values) of every row that is not blank, the header's first."""

    def texts() -> Iterator[str]:
        yield lines.readline().removeprefix(codecs.BOM_UTF8).decode("utf-8", "replace")
        for line in lines:
            yield line.decode("utf-8", "replace")

    rows = csv.reader(texts(), strict=True)  # strict: a quote that is not closed would swallow what follows
    try:
        for row in rows:
            if row:
                yield rows.line_num, row
    except csv.Error as error:
        raise RecordedError(f"{path}:{rows.line_num}: {error}") from None
