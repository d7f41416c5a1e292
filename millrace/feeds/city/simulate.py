"""One service day of the simulated city: a pure function of the city and the date.

A service day lasts from 04:00 to 04:00 of the city's time. Rides begin until two hours before its end; in the
last hour, when every bike stands at a station, vans bring each station to the number of bikes with which the
next day opens. That number depends only on the next day's date. So any day can be simulated without the days
before it, the state at any moment costs at most one day to compute, and yet no bike ever appears or vanishes:
what is rented at one station is returned at another.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from random import Random
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

from millrace.feeds.city import rhythm
from millrace.feeds.city.stations import lay_out, plane

CLOSED_HOURS = 2
"""No ride begins in the last hours of a service day."""

_VAN_HOURS = 1
_SECONDS_PER_VAN_BIKE = 10
_MAX_RIDE = 45 * 60
_DETOUR = 5 * 60
_FLEET_SHARE = 0.5
"""Bikes per dock. Half is what operators aim at; it also leaves a free dock somewhere for every bike."""
_WITHIN_REACH = 60
"""Riders choose among so many nearest stations; among all of them a big city's day would be slow."""
_USUAL_RIDE_KM = 2.5
_SLOT = 0.5
"""Hours in which demand counts as even."""
_DAYPART_HOURS = 1.0


class Event(NamedTuple):
    """A bike leaves a station or comes to one. `at` in epoch seconds UTC, `station` an index."""

    at: int
    what: Literal["rental", "return"]
    station: int
    trip: int
    by: Literal["rider", "van"]


@dataclass(frozen=True)
class ServiceDay:
    """What happens from `begins` to before `ends` (epoch seconds UTC): the bikes at the opening by station,
    then the events in the order in which they happen."""

    day: date
    begins: int
    ends: int
    opening: tuple[int, ...]
    events: tuple[Event, ...]

    @property
    def closes(self) -> int:
        """From here to the end of the day no bike is rented to riders."""
        return self.ends - CLOSED_HOURS * 3600


class City:
    """A city of its seed: the same stations and the same rides at the same times, in every process.

    `trips_per_station` is the mean demand on an ordinary weekday; somewhat fewer rides happen, because a
    station may be empty.
    """

    def __init__(
        self,
        seed: int,
        stations: int = 120,
        trips_per_station: float = 30.0,
        timezone: ZoneInfo | None = None,
    ) -> None:
        self.seed = seed
        self.timezone = timezone or ZoneInfo("UTC")
        self.stations = lay_out(seed, stations)
        self.fleet = round(_FLEET_SHARE * sum(station.capacity for station in self.stations))
        usual = sum(station.popularity * rhythm.departures_per_day(station.kind) for station in self.stations)
        self._demand = trips_per_station * stations / usual
        self._where = plane(self.stations)
        self._near = [self._by_distance(number) for number in range(stations)]
        self._pulls: dict[tuple[int, int, bool], list[float]] = {}
        self.service_day = lru_cache(maxsize=3)(self._simulate)

    def begin_of(self, day: date) -> int:
        """04:00 of the city's time on that date, in epoch seconds UTC."""
        return int(datetime.combine(day, time(int(rhythm.OPENS)), self.timezone).timestamp())

    def day_at(self, moment: int) -> date:
        """The service day in which a moment (epoch seconds UTC) falls."""
        local = datetime.fromtimestamp(moment, self.timezone) - timedelta(hours=rhythm.OPENS)
        day = local.date()
        # Around a change of the clocks the subtraction can be off by an hour.
        if moment < self.begin_of(day):
            return day - timedelta(days=1)
        if moment >= self.begin_of(day + timedelta(days=1)):
            return day + timedelta(days=1)
        return day

    def opening(self, day: date) -> tuple[int, ...]:
        """Bikes by station when a day opens: always the whole fleet, never more than a station's docks."""
        draw = self._random("opening", day)
        weekend = _is_weekend(day)
        wishes = [
            station.capacity * rhythm.full_at_opening(station.kind, weekend) * (0.9 + 0.2 * draw())
            for station in self.stations
        ]
        return _shared_out(self.fleet, wishes, [station.capacity for station in self.stations])

    def _simulate(self, day: date) -> ServiceDay:
        begins, ends = self.begin_of(day), self.begin_of(day + timedelta(days=1))
        opening = self.opening(day)
        bikes = list(opening)
        events = _Ledger()
        self._rides(day, begins, ends, bikes, events)
        self._vans(ends, bikes, self.opening(day + timedelta(days=1)), events)
        return ServiceDay(day, begins, ends, opening, tuple(events.in_order()))

    def _rides(self, day: date, begins: int, ends: int, bikes: list[int], events: _Ledger) -> None:
        draw = self._random("rides", day)
        weekend = _is_weekend(day)
        capacity = [station.capacity for station in self.stations]
        reserved = [0] * len(bikes)
        wishes = sorted(self._wishes(draw, begins, ends - CLOSED_HOURS * 3600, weekend))
        riding: list[tuple[int, int, int, bool]] = []  # (arrival, trip, station, has a dock reserved)

        def arrive_until(moment: float) -> None:
            while riding and riding[0][0] <= moment:
                at, trip, station, has_dock = heapq.heappop(riding)
                if has_dock:
                    reserved[station] -= 1
                elif bikes[station] + reserved[station] >= capacity[station]:
                    # Full: ride on to the nearest free dock, and book it. One exists, the fleet being half.
                    station = next(s for s in self._near[station] if bikes[s] + reserved[s] < capacity[s])
                    reserved[station] += 1
                    heapq.heappush(riding, (at + _DETOUR, trip, station, True))
                    continue
                bikes[station] += 1
                events.add(at, "return", station, trip, "rider")

        for at, origin in wishes:
            arrive_until(at)
            chance, pace = draw(), draw()  # drawn also for those who find no bike: the rest stays the same
            if bikes[origin] == 0:
                continue
            bikes[origin] -= 1
            trip = events.next_trip()
            events.add(at, "rental", origin, trip, "rider")
            target = self._destination(origin, rhythm.OPENS + (at - begins) / 3600, weekend, chance)
            metres = 1300 * math.dist(self._where[origin], self._where[target])
            ride = 120 + metres / (3.0 + 2.0 * pace)
            heapq.heappush(riding, (at + min(int(ride), _MAX_RIDE), trip, target, False))
        arrive_until(math.inf)

    def _wishes(
        self, draw: Callable[[], float], begins: int, until: int, weekend: bool
    ) -> Iterator[tuple[int, int]]:
        """(epoch second, station) of everyone who wants a bike: a Poisson process per station."""
        slot_seconds = int(_SLOT * 3600)
        for number, station in enumerate(self.stations):
            factor = self._demand * station.popularity / 3600
            for slot in range(begins, until, slot_seconds):
                hour = rhythm.OPENS + (slot - begins) / 3600 + _SLOT / 2
                per_second = factor * rhythm.departures(station.kind, weekend, hour)
                moment = slot - math.log(1 - draw()) / per_second
                while moment < min(slot + slot_seconds, until):
                    yield int(moment), number
                    moment -= math.log(1 - draw()) / per_second

    def _destination(self, origin: int, hour: float, weekend: bool, chance: float) -> int:
        daypart = int(hour / _DAYPART_HOURS)
        pulls = self._pulls.get((origin, daypart, weekend))
        if pulls is None:
            pulls, total = [], 0.0
            for target in self._near[origin][:_WITHIN_REACH]:
                station = self.stations[target]
                distance = math.dist(self._where[origin], self._where[target])
                draws = rhythm.attraction(station.kind, weekend, (daypart + 0.5) * _DAYPART_HOURS)
                total += station.capacity * draws * math.exp(-((distance / _USUAL_RIDE_KM) ** 2))
                pulls.append(total)
            self._pulls[origin, daypart, weekend] = pulls
        return self._near[origin][min(bisect(pulls, chance * pulls[-1]), len(pulls) - 1)]

    def _vans(self, ends: int, bikes: list[int], wanted: tuple[int, ...], events: _Ledger) -> None:
        """First all the picking up, then all the putting down: no station overflows on the way."""
        begins = ends - _VAN_HOURS * 3600
        spread, half = 20 * 60, 30 * 60
        picked: list[int] = []
        surplus = [number for number in range(len(bikes)) if bikes[number] > wanted[number]]
        for rank, number in enumerate(surplus):
            at = begins + 60 + spread * rank // len(surplus)
            for _ in range(bikes[number] - wanted[number]):
                picked.append(events.next_trip())
                events.add(at, "rental", number, picked[-1], "van")
                at += _SECONDS_PER_VAN_BIKE
        short = [number for number in range(len(bikes)) if bikes[number] < wanted[number]]
        for rank, number in enumerate(short):
            at = begins + half + 60 + spread * rank // len(short)
            for _ in range(wanted[number] - bikes[number]):
                events.add(at, "return", number, picked.pop(), "van")
                at += _SECONDS_PER_VAN_BIKE
        assert not picked, "the fleet of tomorrow is the fleet of today"

    def _by_distance(self, origin: int) -> list[int]:
        """All other stations, the nearest first."""
        here = self._where[origin]
        distances = [(math.dist(here, there), number) for number, there in enumerate(self._where)]
        return [number for _, number in sorted(distances) if number != origin]

    def _random(self, purpose: str, day: date) -> Callable[[], float]:
        return Random(f"millrace city {self.seed} {len(self.stations)} {purpose} {day.isoformat()}").random


class _Ledger:
    """Collects a day's events and numbers its trips."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._trips = 0

    def next_trip(self) -> int:
        self._trips += 1
        return self._trips

    def add(
        self, at: int, what: Literal["rental", "return"], station: int, trip: int, by: Literal["rider", "van"]
    ) -> None:
        self._events.append(Event(at, what, station, trip, by))

    def in_order(self) -> list[Event]:
        # A stable sort: events of one second stay as simulated, so that counts never leave their bounds.
        return sorted(self._events, key=lambda event: event.at)


def _is_weekend(day: date) -> bool:
    return day.weekday() >= 5


def _shared_out(total: int, wishes: list[float], limits: list[int]) -> tuple[int, ...]:
    """Whole shares of `total` in proportion to the wishes, none above its limit, by largest remainders."""
    factor = total / sum(wishes)
    exact = [min(wish * factor, limit) for wish, limit in zip(wishes, limits, strict=True)]
    shares = [int(share) for share in exact]
    by_remainder = sorted(range(len(shares)), key=lambda number: (shares[number] - exact[number], number))
    left = total - sum(shares)
    while left:
        for number in by_remainder:
            if left and shares[number] < limits[number]:
                shares[number] += 1
                left -= 1
    return tuple(shares)
