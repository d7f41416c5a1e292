"""The change-only CSV pair of a recording as polls; the form is described in `recorded.py`."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import IO, Any

from millrace.feeds.compressed import Lines, RecordedError
from millrace.feeds.model import Poll, Station
from millrace.feeds.reading import count, epoch_seconds, flag


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
        rows = _change_rows(changes, lines)
        waiting = next(rows, None)
        for poll, observed_at, fetched_at in poll_rows(polls):
            while waiting is not None and waiting[0] <= poll:
                _, number, values = waiting
                if values is None:
                    present.pop(number, None)
                else:
                    present[number] = Station(ids.get(number, number), *values)
                waiting = next(rows, None)
            if on_read is not None:
                on_read(changes, below.tell())
            yield Poll(system_id, observed_at, fetched_at, tuple(present.values()))
        if waiting is not None:
            raise RecordedError(f"{changes} has changes of poll {waiting[0]}, which {polls} does not have")


def poll_rows(path: Path) -> Iterator[tuple[int, int, int]]:
    """(poll, observed_at, fetched_at) of every row; times in epoch seconds UTC."""
    with Lines(path) as (lines, _):
        for number, row in _csv_rows(lines):
            try:
                poll, observed_at = int(row["poll"]), epoch_seconds(row["last_updated"], "last_updated")
                committed = row.get("committed_at") or row["last_updated"]
                yield poll, observed_at, epoch_seconds(committed, "committed_at")
            except (KeyError, ValueError) as error:
                raise RecordedError(f"{path}:{number}: {error}") from None


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


def _change_rows(path: Path, lines: IO[bytes]) -> Iterator[tuple[int, str, tuple[Any, ...] | None]]:
    """(poll, station_no, the Station's values or None for absent) of every row.

    By position and through a memory of the rows seen: 2.6 million rows, but few different ones.
    """
    rows = csv.reader(line.decode("utf-8", "replace") for line in lines)
    header = next(rows)
    if "bikes" not in header:
        raise RecordedError(f"{path}:1: the header has no column 'bikes'")
    known: dict[tuple[str, ...], tuple[Any, ...]] = {}
    last = -1
    for number, row in enumerate(rows, start=2):
        texts = tuple(row[2:])
        values = known.get(texts)
        try:
            if len(row) != len(header):
                raise ValueError(f"{len(row)} columns, the header has {len(header)}")
            poll = int(row[0])
            if values is None and any(texts):
                values = _station_values(dict(zip(header[2:], texts, strict=True)))
                if len(known) < 1 << 18:
                    known[texts] = values
            if poll < last:
                raise ValueError(f"poll {poll} after poll {last}: the rows must be in the order of the polls")
        except ValueError as error:
            raise RecordedError(f"{path}:{number}: {error}") from None
        last = poll
        yield poll, row[1], values


def _station_values(row: dict[str, str]) -> tuple[Any, ...]:
    values = tuple(read(row.get(name, "")) for name, read in _FIELDS)
    if values[0] is None:
        raise ValueError(f"bikes is {row['bikes']!r}, not a count")
    return values


def _station_ids(path: Path) -> dict[str, str]:
    with Lines(path) as (lines, _):
        return {row["station_no"]: row["station_id"] for _, row in _csv_rows(lines)}


def _csv_rows(lines: IO[bytes]) -> Iterator[tuple[int, dict[str, str]]]:
    texts = (line.decode("utf-8-sig", "replace") for line in lines)
    header = next(csv.reader(islice(texts, 1)))
    yield from enumerate(csv.DictReader(texts, fieldnames=header), start=2)
