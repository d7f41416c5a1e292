import json
from collections import Counter
from datetime import date, timedelta
from functools import cache
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.feeds.city import feed as city_feed
from millrace.feeds.city.polls import polls
from millrace.feeds.city.simulate import City, ServiceDay
from millrace.feeds.city.stations import Kind
from millrace.feeds.city.truth import TruthLog, read_truth
from millrace.feeds.context import FeedContext
from millrace.feeds.envelope import decode, poll_pages
from millrace.feeds.options import CityOptions
from millrace.feeds.stop import Stop

FRIDAY, SATURDAY = date(2026, 11, 20), date(2026, 11, 21)
days = st.dates(date(2024, 1, 1), date(2030, 12, 31))


@cache
def city(seed: int = 1, stations: int = 30, zone: str = "UTC") -> City:
    return City(seed, stations, timezone=ZoneInfo(zone))


@cache
def default_city() -> City:
    return City(1)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 5), stations=st.sampled_from([5, 12, 40]), day=days)
def test_bikes_are_conserved_and_counts_stay_within_the_docks(seed: int, stations: int, day: date) -> None:
    town = city(seed, stations)
    today = town.service_day(day)
    bikes = list(today.opening)
    on_their_way: dict[int, str] = {}
    for event in today.events:
        if event.what == "rental":
            bikes[event.station] -= 1
            on_their_way[event.trip] = event.by
        else:
            bikes[event.station] += 1
            assert on_their_way.pop(event.trip) == event.by
        assert 0 <= bikes[event.station] <= town.stations[event.station].capacity
        assert sum(bikes) + len(on_their_way) == town.fleet
    assert on_their_way == {}
    assert tuple(bikes) == town.opening(day + timedelta(days=1)), "the next day opens as this one ended"


@settings(max_examples=15, deadline=None)
@given(day=days, zone=st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kolkata", "America/St_Johns"]))
def test_service_days_follow_one_another_and_hold_their_events(day: date, zone: str) -> None:
    town = city(zone=zone)
    today = town.service_day(day)
    assert today.ends == town.begin_of(day + timedelta(days=1))
    assert all(today.begins <= event.at < today.ends for event in today.events)
    assert [event.at for event in today.events] == sorted(event.at for event in today.events)
    assert not [e for e in today.events if e.at >= today.closes and e.what == "rental" and e.by == "rider"]
    for moment in (today.begins, today.begins + 1, today.ends - 1):
        assert town.day_at(moment) == day
    assert town.day_at(today.ends) == day + timedelta(days=1)


@pytest.mark.parametrize(("day", "hours"), [(date(2026, 3, 28), 23), (date(2026, 10, 24), 25)])
def test_a_day_on_which_the_clocks_change_is_as_long_as_it_is(day: date, hours: int) -> None:
    today = city(zone="Europe/Berlin").service_day(day)
    assert today.ends - today.begins == hours * 3600


@settings(max_examples=20, deadline=None)
@given(
    offset=st.integers(-40_000, 40_000),
    cuts=st.lists(st.integers(1, 60), min_size=1, max_size=4),
    step=st.sampled_from([30, 300, 7200]),
)
def test_a_restart_anywhere_changes_no_byte(offset: int, cuts: list[int], step: int) -> None:
    """Polls of one process, and of several that each go on after the last poll of the one before."""
    first = (city().begin_of(SATURDAY) + offset) // step * step
    together = [poll_pages(poll) for poll in islice(polls(city(), "city", first, step), sum(cuts))]
    apart: list[list[bytes]] = []
    at = first
    for length in cuts:
        fresh = City(1, 30, timezone=ZoneInfo("UTC"))
        apart.extend(poll_pages(poll) for poll in islice(polls(fresh, "city", at, step), length))
        at += length * step
    assert apart == together


def test_another_interval_sees_the_same_city() -> None:
    first = city().begin_of(FRIDAY) + 8 * 3600
    fine = {poll.observed_at: poll for poll in islice(polls(city(), "city", first, 5), 400)}
    for poll in islice(polls(city(), "city", first, 30), 60):
        assert fine[poll.observed_at] == poll


def test_another_seed_is_another_city() -> None:
    assert city(1).stations != city(2).stations
    assert city(1).service_day(FRIDAY).events != city(2).service_day(FRIDAY).events


def _rides(town: City, day: ServiceDay, what: str, kind: Kind | None = None) -> Counter[int]:
    """Rides by hour of the city's day, 4 to 27."""
    return Counter(
        4 + (event.at - day.begins) // 3600
        for event in day.events
        if event.what == what
        and event.by == "rider"
        and (kind is None or town.stations[event.station].kind == kind)
    )


def test_weekdays_have_commuter_peaks_from_home_to_work_and_back() -> None:
    town, day = default_city(), default_city().service_day(FRIDAY)
    hours = _rides(town, day, "rental")
    assert 2500 < sum(hours.values()) < 4500
    assert min(hours[8], hours[17]) > 2 * max(hours[10], hours[14])
    assert max(hours[4], hours[5], hours[24], hours[25]) < hours[8] / 4
    assert hours[26] == hours[27] == 0
    home_out, home_in = _rides(town, day, "rental", Kind.HOME), _rides(town, day, "return", Kind.HOME)
    work_out, work_in = _rides(town, day, "rental", Kind.WORK), _rides(town, day, "return", Kind.WORK)
    assert home_out[7] > 3 * home_in[7]
    assert work_in[8] > 3 * work_out[8]
    assert work_out[17] > 3 * work_in[17]
    assert home_in[18] > 1.5 * home_out[18]


def test_weekends_have_one_broad_peak_around_noon_and_no_commuters() -> None:
    town, day = default_city(), default_city().service_day(SATURDAY)
    hours = _rides(town, day, "rental")
    assert max(hours, key=lambda hour: hours[hour]) in range(10, 18)
    assert hours[8] < hours[12] / 2
    assert _rides(town, day, "return", Kind.WORK)[8] < _rides(town, day, "return", Kind.LEISURE)[14]


def test_stations_rent_nothing_in_the_small_hours() -> None:
    day = city().service_day(FRIDAY)
    before, after = (next(polls(city(), "c", at, 30)) for at in (day.closes - 1, day.closes))
    assert all(station.renting for station in before.stations)
    assert not any(station.renting for station in after.stations)


def _truth_at(path: Path, moment: int) -> dict[str, int]:
    """Bikes by station at a moment, from a day's ground-truth file alone."""
    head, events = read_truth(path)
    bikes = {station["station_id"]: station["bikes"] for station in head["stations"]}
    for event in events:
        if event["at"] <= moment:
            bikes[event["station_id"]] += 1 if event["event"] == "return" else -1
    return bikes


def test_the_ground_truth_alone_tells_every_poll(tmp_path: Path) -> None:
    town = city()
    first = town.begin_of(SATURDAY) - 3600
    log = TruthLog(tmp_path, town, "city", timedelta(days=35))
    taken = list(islice(polls(town, "city", first, 600), 30))
    for poll in taken:
        log.write_until(poll.observed_at)
    log.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2026-11-20.jsonl", "2026-11-21.jsonl"]
    for poll in taken[::5]:
        path = tmp_path / f"{town.day_at(poll.observed_at).isoformat()}.jsonl"
        assert _truth_at(path, poll.observed_at) == {s.station_id: s.bikes for s in poll.stations}


def test_the_ground_truth_after_restarts_and_torn_lines_is_as_if_nothing_had_happened(tmp_path: Path) -> None:
    town = city()
    moments = [town.begin_of(FRIDAY) + hours * 3600 for hours in (6, 9, 30)]
    whole = TruthLog(tmp_path / "whole", town, "city", timedelta(days=35))
    for moment in moments:
        whole.write_until(moment)
    whole.close()
    for moment in moments:
        part = TruthLog(tmp_path / "parts", City(1, 30), "city", timedelta(days=35))
        part.write_until(moment)
        part.close()
        for path in (tmp_path / "parts").iterdir():
            with path.open("a") as file:
                file.write('{"at":17')
    last = tmp_path / "parts" / "2026-11-21.jsonl"
    assert last.read_text().removesuffix('{"at":17') == (tmp_path / "whole" / last.name).read_text()
    _, events = read_truth(last)
    assert all(event["at"] <= moments[-1] for event in events)


def test_the_day_of_the_last_poll_is_ended_by_a_restart_on_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The vans of the last hour ride between the last poll of the one process and the first of the next."""
    town, opening = City(1, 5), city(1, 5).begin_of(SATURDAY)
    last = decode(poll_pages(next(polls(town, "city", opening - 3600, 3600)))[0])
    monkeypatch.setattr(city_feed, "last_poll_page", lambda *_: last)
    sink = SimpleNamespace(send=lambda *_, **__: None)
    context = FeedContext(
        "city",
        "",
        "polls",
        tmp_path,
        sink,  # type: ignore[arg-type]
        Stop(),
        once=True,
        clock=lambda: opening + 60.0,
    )
    city_feed.run(context, CityOptions(stations=5, interval=timedelta(hours=1)))
    assert _truth_at(tmp_path / "trips" / "2026-11-20.jsonl", opening) == {
        station.station_id: bikes
        for station, bikes in zip(town.stations, town.opening(SATURDAY), strict=True)
    }


def test_two_processes_of_one_city_leave_the_ground_truth_whole(tmp_path: Path) -> None:
    begins = city().begin_of(FRIDAY)
    one, other = (TruthLog(tmp_path, city(), "city", timedelta(days=35)) for _ in range(2))
    one.write_until(begins + 3600)
    other.write_until(begins + 7200)
    other.close()
    one.write_until(begins + 9 * 3600)
    one.close()
    (path,) = tmp_path.iterdir()
    _, events = read_truth(path)
    expected = [event.at for event in city().service_day(FRIDAY).events if event.at <= begins + 9 * 3600]
    assert [event["at"] for event in events] == expected


def test_every_trip_in_the_ground_truth_leaves_and_arrives(tmp_path: Path) -> None:
    log = TruthLog(tmp_path, city(), "city", timedelta(days=35))
    log.write_until(city().begin_of(FRIDAY))
    log.write_until(city().begin_of(SATURDAY))
    log.close()
    head, events = read_truth(tmp_path / "2026-11-20.jsonl")
    trips: dict[str, list[str]] = {}
    for event in events:
        trips.setdefault(event["trip"], []).append(event["event"])
    assert trips
    assert set(map(tuple, trips.values())) == {("rental", "return")}
    assert (head["seed"], head["system_id"], len(head["stations"])) == (1, "city", 30)


def test_old_ground_truth_is_removed(tmp_path: Path) -> None:
    (tmp_path / "2026-11-01.jsonl").write_text(json.dumps({}))
    (tmp_path / "notes.txt").write_text("mine")
    log = TruthLog(tmp_path, city(), "city", timedelta(days=10))
    log.write_until(city().begin_of(FRIDAY))
    log.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2026-11-20.jsonl", "notes.txt"]
