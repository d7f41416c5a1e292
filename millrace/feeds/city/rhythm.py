"""When people ride: the daily rhythm of departures and arrivals by kind of station.

All functions take hours since midnight of the service day's date, from 4 to 28: a service day begins at 04:00
and its small hours belong to the evening before.
"""

from __future__ import annotations

import math
from functools import cache

from millrace.feeds.city.stations import Kind

OPENS = 4.0
"""Hour at which a service day begins."""

Bumps = tuple[tuple[float, float, float], ...]
"""(height, hour of the peak, width in hours) each; they are added up."""

_DEPARTURES: dict[tuple[Kind, bool], Bumps] = {
    (Kind.HOME, False): ((2.4, 8.0, 0.9), (0.35, 13.0, 3.0), (0.5, 18.5, 1.8), (0.2, 21.5, 1.5)),
    (Kind.WORK, False): ((0.25, 9.5, 2.0), (0.6, 12.6, 0.8), (2.4, 17.3, 1.1), (0.2, 20.0, 1.5)),
    (Kind.HUB, False): ((1.8, 8.2, 0.9), (0.5, 13.0, 3.0), (1.6, 17.6, 1.2), (0.3, 22.0, 1.5)),
    (Kind.LEISURE, False): ((0.3, 11.0, 2.0), (0.9, 16.5, 2.5), (0.9, 20.5, 1.8), (0.3, 24.0, 1.2)),
    (Kind.HOME, True): ((1.1, 11.5, 2.0), (0.7, 15.0, 2.5), (0.4, 19.5, 1.5)),
    (Kind.WORK, True): ((0.25, 14.0, 4.0),),
    (Kind.HUB, True): ((0.9, 12.5, 3.5), (0.4, 20.0, 2.5)),
    (Kind.LEISURE, True): ((0.5, 12.5, 2.0), (1.6, 17.0, 2.3), (0.9, 22.5, 2.0)),
}
_ARRIVALS: dict[tuple[Kind, bool], Bumps] = {
    (Kind.HOME, False): ((0.15, 10.0, 3.0), (2.4, 18.0, 1.5), (0.9, 22.5, 2.0)),
    (Kind.WORK, False): ((2.6, 8.2, 1.0), (0.6, 13.2, 0.9), (0.15, 16.0, 3.0)),
    (Kind.HUB, False): ((1.2, 7.8, 1.0), (0.5, 13.0, 3.0), (1.8, 17.4, 1.2)),
    (Kind.LEISURE, False): ((0.4, 12.5, 1.5), (0.9, 15.5, 2.5), (1.2, 19.0, 1.5)),
    (Kind.HOME, True): ((0.5, 13.0, 3.0), (1.3, 18.5, 2.2), (0.9, 23.0, 2.0)),
    (Kind.WORK, True): ((0.2, 13.0, 4.0),),
    (Kind.HUB, True): ((0.7, 13.0, 4.0), (0.5, 19.0, 2.0)),
    (Kind.LEISURE, True): ((1.7, 13.5, 2.3), (1.1, 20.0, 1.8)),
}
_AT_ANY_HOUR = 0.03

_FULL_AT_OPENING: dict[tuple[Kind, bool], float] = {
    (Kind.HOME, False): 0.70,
    (Kind.WORK, False): 0.22,
    (Kind.HUB, False): 0.50,
    (Kind.LEISURE, False): 0.40,
    (Kind.HOME, True): 0.62,
    (Kind.WORK, True): 0.30,
    (Kind.HUB, True): 0.50,
    (Kind.LEISURE, True): 0.50,
}


def departures(kind: Kind, weekend: bool, hour: float) -> float:
    """Relative demand for bikes at a station of this kind."""
    return _AT_ANY_HOUR + _height(_DEPARTURES[kind, weekend], hour)


def attraction(kind: Kind, weekend: bool, hour: float) -> float:
    """How strongly a station of this kind draws those who leave elsewhere at this hour."""
    return _AT_ANY_HOUR + _height(_ARRIVALS[kind, weekend], hour)


def full_at_opening(kind: Kind, weekend: bool) -> float:
    """The share of a station's docks that the vans fill during the night before."""
    return _FULL_AT_OPENING[kind, weekend]


@cache
def departures_per_day(kind: Kind) -> float:
    """Relative demand over an ordinary weekday, in the unit of `departures` times hours."""
    return sum(departures(kind, False, OPENS + quarter / 4) / 4 for quarter in range(22 * 4))


def _height(bumps: Bumps, hour: float) -> float:
    return sum(height * math.exp(-(((hour - peak) / width) ** 2)) for height, peak, width in bumps)
