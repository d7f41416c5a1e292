"""The ground truth of a simulated city: every bike that left a station or came to one, by the second.

One file per service day, `<directory>/<date>.jsonl`. Its first line describes the day and the stations with the
bikes they open with; every further line is one event. So a file alone tells the count of every station at every
second of its day, independently of the polls. docs/schemas.md describes the fields.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import IO, Any

from millrace.feeds.city.simulate import City, Event, ServiceDay


class TruthLog:
    """Writes the events up to a moment. A day's file is written anew when a process first comes to it, so that
    a restart, a torn line or a lost file mend themselves: the events are a function of the city and the date.
    """

    def __init__(self, directory: Path, city: City, system_id: str, keep: timedelta) -> None:
        self._directory = directory
        self._city = city
        self._system_id = system_id
        self._keep = keep
        self._day: ServiceDay | None = None
        self._file: IO[str] | None = None
        self._written = 0
        directory.mkdir(parents=True, exist_ok=True)

    def write_until(self, moment: int) -> None:
        """Bring the files up to a moment, epoch seconds UTC; call it with rising moments."""
        if self._day is not None:
            while moment >= self._day.ends:
                self._append(self._day.ends)
                self._open(self._day.day + timedelta(days=1))
        else:
            self._open(self._city.day_at(moment))
        self._append(moment)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self, day: date) -> None:
        self.close()
        self._day, self._written = self._city.service_day(day), 0
        # Renamed into place: another process of the same city may be writing this file too.
        new = self._directory / f".{day.isoformat()}.{os.getpid()}"
        self._file = new.open("w", encoding="utf-8")
        self._file.write(_line(self._head(self._day)))
        new.rename(self._path(day))
        oldest = day - self._keep
        for path in self._directory.glob("????-??-??.jsonl"):
            if path.stem < oldest.isoformat():
                path.unlink(missing_ok=True)

    def _append(self, moment: int) -> None:
        assert self._day is not None
        if self._file is None or not self._is_ours(self._file, self._path(self._day.day)):
            self._open(self._day.day)
        assert self._file is not None
        events = self._day.events
        while self._written < len(events) and events[self._written].at <= moment:
            self._file.write(_line(self._event(self._day, events[self._written])))
            self._written += 1
        self._file.flush()

    def _path(self, day: date) -> Path:
        return self._directory / f"{day.isoformat()}.jsonl"

    @staticmethod
    def _is_ours(file: IO[str], path: Path) -> bool:
        """Whether the file of this name is still the one that is open: someone may have replaced or removed it."""
        try:
            return os.path.samestat(os.fstat(file.fileno()), path.stat())
        except FileNotFoundError:
            return False

    def _head(self, day: ServiceDay) -> dict[str, object]:
        stations = [
            {
                "station_id": station.station_id,
                "name": station.name,
                "kind": station.kind.value,
                "lat": station.lat,
                "lon": station.lon,
                "capacity": station.capacity,
                "bikes": bikes,
            }
            for station, bikes in zip(self._city.stations, day.opening, strict=True)
        ]
        return {
            "day": day.day.isoformat(),
            "begins": day.begins,
            "ends": day.ends,
            "system_id": self._system_id,
            "seed": self._city.seed,
            "stations": stations,
        }

    def _event(self, day: ServiceDay, event: Event) -> dict[str, object]:
        return {
            "at": event.at,
            "event": event.what,
            "station_id": self._city.stations[event.station].station_id,
            "trip": f"{day.day.isoformat()}/{event.trip}",
            "by": event.by,
        }


def read_truth(path: Path) -> tuple[dict[str, Any], Iterator[dict[str, Any]]]:
    """A day's file: its first line, and its events in order. A last line that is not whole yet is left out."""
    lines = path.open(encoding="utf-8")
    head: dict[str, Any] = json.loads(next(lines))

    def events() -> Iterator[dict[str, Any]]:
        with lines:
            for line in lines:
                if line.endswith("\n"):
                    yield json.loads(line)

    return head, events()


def _line(value: dict[str, object]) -> str:
    return json.dumps(value, separators=(",", ":")) + "\n"
