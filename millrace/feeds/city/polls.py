"""The simulated city as its operator's feed would show it: a poll every so many seconds."""

from __future__ import annotations

from collections.abc import Iterator

from millrace.feeds.city.simulate import City
from millrace.feeds.model import Poll, Station


def polls(city: City, system_id: str, first: int, step: int) -> Iterator[Poll]:
    """The polls at `first`, `first + step`, … (epoch seconds UTC), without end.

    Each is a pure function of the city and its time, whatever `first` and `step` are: a poll at 12:00:00 is
    the same bytes in a feed that has run for a week and in one that has just begun.
    """
    at = first
    while True:
        day = city.service_day(city.day_at(at))
        bikes = list(day.opening)
        position, was_open = 0, True
        stations = [_station(city, number, bikes[number], True) for number in range(len(bikes))]
        while at < day.ends:
            touched = set()
            while position < len(day.events) and day.events[position].at <= at:
                event = day.events[position]
                bikes[event.station] += 1 if event.what == "return" else -1
                touched.add(event.station)
                position += 1
            is_open = at < day.closes
            for number in touched if is_open == was_open else range(len(bikes)):
                stations[number] = _station(city, number, bikes[number], is_open)
            was_open = is_open
            yield Poll(system_id, at, at, tuple(stations))
            at += step


def _station(city: City, number: int, bikes: int, is_open: bool) -> Station:
    station = city.stations[number]
    return Station(
        station_id=station.station_id,
        bikes=bikes,
        docks=station.capacity - bikes,
        installed=True,
        renting=is_open,
        returning=True,
    )
