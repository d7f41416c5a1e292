"""What would go: never what is young, never what could bring back a part of an hour."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.catalog import DatasetRetention, DatasetSpec, StreamRetention, StreamSpec
from millrace.publish.layout import published_key
from millrace.publish.settled import SETTLED_AFTER
from millrace.retention.found import DatasetFound, LandingFound, PublishedFound, StateFound, StreamFound
from millrace.retention.plan import (
    HORIZON_KNOWN_AFTER,
    KEPT_ORDERS,
    KEPT_STATUSES,
    Removal,
    next_horizon,
    plan,
)
from millrace.store import ObjectInfo

NOW = datetime(2026, 6, 1, 12, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
FIRST_KEPT = datetime(2026, 5, 2, 12, tzinfo=UTC)
"""Kept for 30 days: the hour before ended at 12:00, 30 days and 30 minutes before NOW."""


def spec(**retention: timedelta | None) -> DatasetSpec:
    kept = {"published": 30 * DAY, "expired": 10 * DAY, "landing": DAY} | retention
    return DatasetSpec(
        name="counts",
        prefix="counts",
        keys=["key"],
        columns={"key": "string", "n": "int64"},
        writers=["counter"],
        retention=DatasetRetention.model_validate(kept),
    )


def info(key: str, age: timedelta = timedelta(0), size: int = 10) -> ObjectInfo:
    return ObjectInfo(key, size, "etag", NOW - age)


def published(hour: datetime, *, expired: bool = False, age: timedelta = DAY) -> PublishedFound:
    return PublishedFound(hour, info(published_key("counts", hour), age), expired)


def landed(hour: datetime, age: timedelta = 2 * DAY) -> LandingFound:
    return LandingFound(hour, info(f"landing/counts/{hour:%Y-%m-%dT%H}/{age}", age))


def planned(found: DatasetFound, *, atomic: bool = True) -> list[Removal]:
    return list(plan([found], [], NOW, atomic=atomic).removals)


def kinds(removals: list[Removal]) -> list[tuple[str, str]]:
    return [(one.what, one.key) for one in removals]


def test_an_hour_expires_when_it_ended_longer_ago_than_hours_are_kept() -> None:
    old, young = published(FIRST_KEPT - HOUR), published(FIRST_KEPT)
    (removal,) = planned(DatasetFound(spec(), published=(old, young)))
    assert (removal.what, removal.hour, removal.why) == (
        "published hours",
        FIRST_KEPT - HOUR,
        "ended over 30d ago",
    )


def test_without_a_limit_no_hour_ever_goes() -> None:
    old = published(datetime(2001, 1, 1, tzinfo=UTC))
    found = DatasetFound(spec(published=None), published=(old,), landing=(landed(old.hour),))
    assert plan([found], [], NOW, atomic=True).removals == ()
    assert next_horizon(found, NOW, atomic=True) is None


def test_an_old_hour_that_has_only_landed_gets_an_empty_object_and_keeps_what_landed_for_now() -> None:
    hour = FIRST_KEPT - 5 * HOUR
    removals = planned(DatasetFound(spec(), landing=(landed(hour), landed(hour, 3 * DAY))))
    assert kinds(removals) == [("published hours", published_key("counts", hour))]


def test_landing_goes_only_for_hours_that_are_gone_and_then_not_at_once() -> None:
    gone, kept = FIRST_KEPT - 2 * HOUR, FIRST_KEPT + HOUR
    late, too_late = landed(gone, 12 * HOUR), landed(gone, 25 * HOUR)
    found = DatasetFound(
        spec(),
        published=(published(gone, expired=True), published(kept)),
        landing=(late, too_late, landed(kept, 20 * DAY)),
    )
    assert kinds(planned(found)) == [("landing", too_late.info.key)]


def test_where_writes_are_not_atomic_a_fresh_empty_object_proves_nothing_yet() -> None:
    hour = FIRST_KEPT - 20 * DAY
    fresh = DatasetFound(
        spec(), published=(published(hour, expired=True, age=SETTLED_AFTER),), landing=(landed(hour),)
    )
    assert planned(fresh, atomic=False) == []
    assert next_horizon(fresh, NOW, atomic=False) == hour
    assert [one.what for one in planned(fresh, atomic=True)] == ["landing"]
    assert next_horizon(fresh, NOW, atomic=True) == FIRST_KEPT - 10 * DAY


def test_the_empty_object_goes_only_when_every_fold_knows_the_horizon() -> None:
    hour = FIRST_KEPT - 20 * DAY
    found = DatasetFound(
        spec(),
        horizon=hour + HOUR,
        horizon_set_at=NOW - HORIZON_KNOWN_AFTER,
        published=(published(hour, expired=True), published(hour + HOUR, expired=True)),
    )
    assert planned(found) == []
    later = replace(found, horizon_set_at=NOW - HORIZON_KNOWN_AFTER - timedelta(seconds=1))
    assert kinds(planned(later)) == [("expired hours", published_key("counts", hour))]


def test_the_horizon_waits_for_hours_that_are_not_gone() -> None:
    start = FIRST_KEPT - 20 * DAY
    expired = tuple(published(start + n * HOUR, expired=True) for n in range(5))
    found = DatasetFound(spec(), published=expired)
    assert next_horizon(found, NOW, atomic=True) == FIRST_KEPT - 10 * DAY
    with_rows = replace(found, published=(*expired[:3], published(start + 3 * HOUR)))
    assert next_horizon(with_rows, NOW, atomic=True) == start + 3 * HOUR
    only_landed = replace(found, landing=(landed(start - HOUR),))
    assert next_horizon(only_landed, NOW, atomic=True) == start - HOUR
    unreadable = replace(found, unreadable=(start + 2 * HOUR,), published=expired[:2])
    assert next_horizon(unreadable, NOW, atomic=True) == start + 2 * HOUR


def test_an_unreadable_hour_is_left_to_a_person() -> None:
    hour = FIRST_KEPT - 5 * HOUR
    assert planned(DatasetFound(spec(), unreadable=(hour,), landing=(landed(hour),))) == []


@pytest.mark.parametrize("kept", ["quarantine", "rejected", "quality", "approvals"])
def test_what_is_kept_beside_the_hours_goes_by_age(kept: str) -> None:
    old, young = info("old", 41 * DAY), info("young", 39 * DAY)
    found = replace(DatasetFound(spec(**{kept: 40 * DAY})), **{kept: (old, young)})
    assert kinds(planned(found)) == [(kept, "old")]
    assert planned(replace(found, dataset=spec(**{kept: None}))) == []


# Any situation at all.

hours = st.integers(-60 * 24, 0).map(lambda n: NOW.replace(minute=0) + n * HOUR)
ages = st.timedeltas(timedelta(0), 50 * DAY)


@st.composite
def situations(draw: st.DrawFn) -> DatasetFound:
    chosen = draw(st.lists(hours, unique=True, max_size=12))
    return DatasetFound(
        spec(
            published=draw(st.sampled_from([None, DAY, 30 * DAY])),
            expired=draw(st.sampled_from([None, DAY, 10 * DAY])),
            landing=draw(st.sampled_from([None, DAY, 7 * DAY])),
        ),
        horizon=draw(st.none() | hours),
        horizon_set_at=NOW - draw(ages),
        published=tuple(published(hour, expired=draw(st.booleans()), age=draw(ages)) for hour in chosen),
        landing=tuple(landed(hour, draw(ages)) for hour in draw(st.lists(hours, max_size=6))),
    )


@given(situations(), st.booleans())
def test_in_any_situation_nothing_goes_that_a_later_write_could_bring_back(
    found: DatasetFound, atomic: bool
) -> None:
    retention = found.dataset.retention
    by_key = {one.info.key: one for one in found.published}
    landing = {one.info.key: one for one in found.landing}

    def is_gone(hour: datetime) -> bool:
        one = by_key.get(published_key("counts", hour))
        settled = one is not None and one.expired and (atomic or NOW - one.info.last_modified > SETTLED_AFTER)
        return settled or (found.horizon is not None and hour < found.horizon)

    for removal in planned(found, atomic=atomic):
        if removal.what == "published hours":
            assert retention.published is not None
            assert removal.hour is not None
            assert removal.hour + HOUR <= NOW - retention.published
            assert removal.key not in by_key or not by_key[removal.key].expired
        elif removal.what == "expired hours":
            assert by_key[removal.key].expired
            assert found.horizon is not None
            assert by_key[removal.key].hour < found.horizon
        else:
            assert removal.what == "landing"
            assert is_gone(landing[removal.key].hour)
    horizon = next_horizon(found, NOW, atomic=atomic)
    if horizon is not None:
        assert found.horizon is None or horizon > found.horizon
        assert all(is_gone(one.hour) for one in (*found.published, *found.landing) if one.hour < horizon)


@given(situations())
def test_in_any_situation_every_hour_that_is_too_old_expires(found: DatasetFound) -> None:
    kept = found.dataset.retention.published
    expiring = {one.hour for one in planned(found) if one.what == "published hours"}
    for one in found.published:
        too_old = kept is not None and not one.expired and one.hour + HOUR <= NOW - kept
        assert (one.hour in expiring) == too_old


# Streams.


def stream(**retention: timedelta | None) -> StreamSpec:
    kept = StreamRetention.model_validate({"state": 30 * DAY, "status": 30 * DAY} | retention)
    return StreamSpec(name="bikes", app="a", source="kafka://t", dataset="d", retention=kept)


def test_only_state_of_earlier_generations_goes_and_none_that_is_still_named() -> None:
    state = tuple(StateFound(generation, info(f"g{generation}", 90 * DAY)) for generation in (1, 2, 3, 4))
    found = StreamFound(stream(), state, 3, NOW - 31 * DAY, frozenset({"g2"}))
    assert kinds(list(plan([], [found], NOW, atomic=True).removals)) == [("earlier state", "g1")]
    just_begun = replace(found, present_since=NOW - DAY)
    assert plan([], [just_begun], NOW, atomic=True).removals == ()
    never_committed = replace(found, present_generation=None, present_since=None)
    assert plan([], [never_committed], NOW, atomic=True).removals == ()


def test_the_last_words_of_the_newest_drivers_stay_whatever_their_age() -> None:
    statuses = tuple((epoch, info(f"s{epoch}", 400 * DAY)) for epoch in range(1, KEPT_STATUSES + 3))
    removals = plan([], [StreamFound(stream(), statuses=statuses)], NOW, atomic=True).removals
    assert kinds(list(removals)) == [("driver status", "s1"), ("driver status", "s2")]


def test_orders_go_at_their_age_but_for_the_newest() -> None:
    orders = tuple((number, info(f"o{number}", 401 * DAY)) for number in range(1, KEPT_ORDERS + 3))
    removals = plan([], [StreamFound(stream(), orders=orders)], NOW, atomic=True).removals
    assert kinds(list(removals)) == [("orders", "o1"), ("orders", "o2")]
    kept = StreamFound(stream(orders=None), orders=orders)
    assert plan([], [kept], NOW, atomic=True).removals == ()
