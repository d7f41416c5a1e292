"""The stations of a simulated city: where they are, what surrounds them, how many docks they have."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from random import Random

MAX_STATIONS = 1500
"""Laying out a city compares every two stations; beyond this a start would take seconds."""

_CENTRE = (50.94, 6.96)
_KM_PER_DEGREE = 111.2
_STREETS = (  # noqa: SIM905
    "Harbour Mill Bridge Garden Station Market Cathedral River Meadow Orchard Castle Linden Museum Forge "
    "Canal Abbey Quarry Willow Tannery Granary Lighthouse Park College Hospital Stadium Theatre Foundry "
    "Vineyard Chapel Rampart"
).split()
_PLACES = "Street Square Lane Gate Row Corner Hill Quay Yard Avenue".split()  # noqa: SIM905


class Kind(StrEnum):
    """What surrounds a station, which decides when people leave from it and arrive at it."""

    HOME = "home"
    WORK = "work"
    HUB = "hub"
    LEISURE = "leisure"


@dataclass(frozen=True, slots=True)
class CityStation:
    """A station of the city; `popularity` multiplies the demand usual for its kind."""

    station_id: str
    name: str
    kind: Kind
    lat: float
    lon: float
    capacity: int
    popularity: float


def lay_out(seed: int, stations: int) -> tuple[CityStation, ...]:
    """The stations of the city with this seed, always the same; offices towards the centre, homes around.

    Only `Random.random()` is used: it is the one method whose sequence Python promises to keep.
    """
    draw = Random(f"millrace city {seed}").random
    radius = 0.45 * math.sqrt(stations)  # km: about 1.6 stations per square kilometre, as in a dense city
    found = []
    for number in range(stations):
        distance = radius * math.sqrt(draw())
        angle = 2 * math.pi * draw()
        kind = _kind(distance / radius, draw())
        found.append(
            CityStation(
                station_id=f"c{number + 1:04d}",
                name=_name(number),
                kind=kind,
                lat=round(_CENTRE[0] + distance * math.sin(angle) / _KM_PER_DEGREE, 6),
                lon=round(
                    _CENTRE[1]
                    + distance * math.cos(angle) / (_KM_PER_DEGREE * math.cos(math.radians(_CENTRE[0]))),
                    6,
                ),
                capacity=(24 if kind is Kind.HUB else 12) + int(18 * draw()),
                popularity=math.exp(0.8 * (draw() + draw() + draw() - 1.5)),
            )
        )
    return tuple(found)


def plane(stations: tuple[CityStation, ...]) -> list[tuple[float, float]]:
    """Kilometres east and north of the centre by station; flat, which is exact enough within a city."""
    east = _KM_PER_DEGREE * math.cos(math.radians(_CENTRE[0]))
    return [((s.lon - _CENTRE[1]) * east, (s.lat - _CENTRE[0]) * _KM_PER_DEGREE) for s in stations]


def _kind(from_centre: float, chance: float) -> Kind:
    """`from_centre` is 0 in the middle and 1 at the rim."""
    offices = 0.55 - 0.5 * from_centre
    if chance < offices:
        return Kind.WORK
    if chance < offices + 0.08:
        return Kind.HUB
    if chance < offices + 0.20:
        return Kind.LEISURE
    return Kind.HOME


def _name(number: int) -> str:
    """Unique for up to len(streets) x len(places) stations, then numbered."""
    street = _STREETS[number % len(_STREETS)]
    place = _PLACES[(number // len(_STREETS)) % len(_PLACES)]
    again = number // (len(_STREETS) * len(_PLACES))
    return f"{street} {place}" + (f" {again + 1}" if again else "")
