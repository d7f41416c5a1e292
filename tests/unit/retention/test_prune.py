"""Retention over time, with the real fold, on a store in memory whose clock moves a day at a time."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.catalog import Catalog, DatasetRetention, FeedSpec, StreamRetention, StreamSpec
from millrace.publish.due import due_hours
from millrace.publish.expire import HourExpired, expire_hour, read_horizon
from millrace.publish.fold import fold_hour
from millrace.publish.layout import HOUR as ONE_HOUR
from millrace.publish.layout import published_key
from millrace.publish.version import Version
from millrace.read.freshest import freshest_totals
from millrace.read.status import status_of
from millrace.retention.prune import as_json, prune
from millrace.retention.tell import text_of
from millrace.store import MemoryStore, StoreUnavailable
from spark_apps.runtime.carried_state import CarriedState, Manifest, put_pack
from tests.unit.publish.builders import DATASET as PLAIN
from tests.unit.publish.builders import HOUR, land, new_store, published, seal, totals

DAY = timedelta(days=1)
KEPT, EMPTY = 5 * DAY, 3 * DAY
DATASET = PLAIN.model_copy(
    update={
        "retention": DatasetRetention(
            published=KEPT, expired=EMPTY, landing=DAY, quarantine=7 * DAY, rejected=7 * DAY
        )
    }
)
STREAM = StreamSpec(
    name="counter",
    app="a",
    source="kafka://t",
    dataset=DATASET.name,
    retention=StreamRetention(state=7 * DAY, status=7 * DAY, rejected=7 * DAY),
)
CATALOG = Catalog(topics={}, streams={STREAM.name: STREAM}, feeds={}, datasets={DATASET.name: DATASET})


def world(*, atomic: bool = True) -> MemoryStore:
    store = new_store(atomic=atomic)
    store.now = HOUR + 2 * ONE_HOUR
    return store


def publish(store: MemoryStore, hour: datetime, n: int = 1, batch: int = 0) -> None:
    land(store, Version(0, 1, batch), {"a": n}, hour=hour)
    seal(store, Version(0, 1, batch), hour)
    fold_hour(store, DATASET, hour)


def compact(store: MemoryStore) -> None:
    for hour in due_hours(store, DATASET, store.now):
        fold_hour(store, DATASET, hour)


def names(store: MemoryStore, prefix: str = "") -> set[str]:
    return {key for key in store.objects if key.startswith(prefix)}


def test_an_hour_expires_stays_expired_and_is_at_last_forgotten() -> None:
    store = world()
    key = published_key(DATASET.prefix, HOUR)
    publish(store, HOUR, 7)
    prune(store, CATALOG)
    assert totals(published(store)) == {"a": 7}

    store.now = HOUR + ONE_HOUR + KEPT
    report = prune(store, CATALOG)
    assert [(line.what, line.objects, line.oldest) for line in report.lines] == [("published hours", 1, HOUR)]
    assert status_of(store, DATASET, HOUR).status == "expired"

    land(store, Version(0, 1, 9), {"a": 8})
    compact(store)
    assert status_of(store, DATASET, HOUR).status == "expired"
    assert freshest_totals(store, DATASET, HOUR).is_empty()
    assert names(store, "landing/") == set()

    store.now += EMPTY
    assert prune(store, CATALOG).horizons == ((DATASET.name, HOUR + ONE_HOUR),)
    with pytest.raises(HourExpired):
        status_of(store, DATASET, HOUR)
    assert key in store.objects
    store.now += timedelta(hours=2)
    assert [line.what for line in prune(store, CATALOG).lines] == ["expired hours"]
    assert key not in store.objects

    land(store, Version(0, 1, 10), {"a": 9})
    compact(store)
    assert key not in store.objects


def test_what_landed_for_an_hour_behind_the_horizon_goes_even_when_nobody_folds() -> None:
    store = world()
    store.now = HOUR + KEPT + EMPTY + 2 * DAY
    publish(store, HOUR + KEPT + EMPTY + DAY)
    prune(store, CATALOG)
    assert read_horizon(store, DATASET) == HOUR + 2 * DAY
    late = land(store, Version(0, 1, 1), {"a": 1})
    store.now += 12 * ONE_HOUR
    prune(store, CATALOG)
    assert late in store.objects
    store.now += 13 * ONE_HOUR
    assert "landing" in [line.what for line in prune(store, CATALOG).lines]
    assert late not in store.objects


def test_a_dry_run_says_the_same_and_touches_nothing() -> None:
    store = world()
    publish(store, HOUR)
    store.put(f"quarantine/{DATASET.name}/x/reason.json", b"{}")
    store.now += 30 * DAY
    before = dict(store.objects)
    said = prune(store, CATALOG, dry_run=True)
    assert store.objects == before
    done = prune(store, CATALOG)
    assert (said.lines, said.problems) == (done.lines, done.problems)
    assert "would go" in text_of(said)
    assert "went" in text_of(done)
    assert store.objects != before


def test_a_second_run_has_nothing_to_do() -> None:
    store = world()
    for number in range(4):
        publish(store, HOUR + number * ONE_HOUR)
    store.now += 6 * DAY
    assert prune(store, CATALOG).objects == 4
    before = dict(store.objects)
    again = prune(store, CATALOG)
    assert (again.lines, again.horizons) == ((), ())
    assert store.objects == before
    assert text_of(again) == "nothing had to go"


def test_each_kind_of_trace_goes_at_its_age_and_epochs_and_generations_never() -> None:
    store = world()
    kept = {"control/counter/epochs/00000001.json", f"generations/{DATASET.name}/00001.json"}
    going = {
        "rejected/counter/date=2026-03-29/a.parquet",
        f"rejected/facts/{DATASET.name}/hour=2026-03-29T01/b.parquet",
        f"quarantine/{DATASET.name}/2026-03-29T01/c.parquet",
        *(f"control/counter/status/{epoch:08d}.json" for epoch in range(1, 4)),
    }
    statuses = {f"control/counter/status/{epoch:08d}.json" for epoch in range(4, 14)}
    for key in (*kept, *going, *statuses):
        if key not in store.objects:
            store.put(key, b"{}")
    store.now += 7 * DAY
    assert prune(store, CATALOG).objects == 0
    store.now += timedelta(seconds=1)
    report = prune(store, CATALOG)
    assert names(store) - names(store, "retention/") == kept | statuses
    assert report.objects == len(going)
    assert {line["what"] for line in as_json(report)["removed"]} == {
        "rejected",
        "quarantine",
        "driver status",
    }


def commit_state(store: MemoryStore, generation: int, batch: int) -> str:
    pack = put_pack(store, STREAM.name, generation, batch, 0, f"{generation}-{batch}".encode())
    manifest = Manifest(stream=STREAM.name, generation=generation, batch=batch, buckets=1, packs={0: pack})
    CarriedState(store, STREAM.name, generation).commit(manifest)
    return pack.key


def test_state_of_earlier_lives_goes_when_a_later_one_has_lasted() -> None:
    store = new_store(generations=2)
    old = commit_state(store, 1, 5)
    store.now += 20 * DAY
    prune(store, CATALOG)
    assert old in store.objects, "nothing else has committed any state"
    new = commit_state(store, 2, 0)
    prune(store, CATALOG)
    assert old not in store.objects
    assert new in store.objects


class Unreliable(MemoryStore):
    """Deletes of some objects are not answered."""

    refused = ""

    def delete(self, key: str) -> None:
        if self.refused and self.refused in key:
            raise StoreUnavailable(f"DELETE {key}: no answer")
        super().delete(key)


def test_what_cannot_be_removed_is_named_and_does_not_hold_the_rest() -> None:
    store = Unreliable()
    for name in ("bad", "good"):
        store.put(f"quarantine/{DATASET.name}/{name}", b"x")
    store.refused = "bad"
    store.now += 8 * DAY
    report = prune(store, CATALOG)
    assert names(store, "quarantine/") == {f"quarantine/{DATASET.name}/bad"}
    assert report.objects == 1
    (problem,) = report.problems
    assert "no answer; the next run tries again" in problem
    assert problem in text_of(report)


def test_a_damaged_published_hour_is_named_and_left_and_holds_the_horizon() -> None:
    store = world()
    publish(store, HOUR)
    store.put(published_key(DATASET.prefix, HOUR + ONE_HOUR), b"not parquet")
    store.now += 30 * DAY
    (problem,) = prune(store, CATALOG).problems
    assert "not a Parquet object" in problem
    prune(store, CATALOG)
    store.now += DAY
    assert prune(store, CATALOG).horizons == ()
    assert read_horizon(store, DATASET) == HOUR + ONE_HOUR
    assert store.objects[published_key(DATASET.prefix, HOUR + ONE_HOUR)][0] == b"not parquet"


def test_an_empty_store_has_nothing_to_go() -> None:
    assert text_of(prune(MemoryStore(), CATALOG, dry_run=True)) == "nothing would go"


def test_on_a_store_that_checks_first_an_expiry_that_was_overwritten_is_repeated() -> None:
    store = world(atomic=False)
    publish(store, HOUR)
    before = store.objects[published_key(DATASET.prefix, HOUR)][0]
    store.now += 20 * DAY
    expire_hour(store, DATASET, HOUR)
    store.put(published_key(DATASET.prefix, HOUR), before)  # a PUT that had passed its check before
    report = prune(store, CATALOG)
    assert [line.what for line in report.lines] == ["published hours"]
    assert report.horizons == ((DATASET.name, HOUR),)
    assert prune(store, CATALOG).horizons == ()
    store.now += timedelta(minutes=11)
    assert prune(store, CATALOG).horizons == ((DATASET.name, (store.now - KEPT - EMPTY).replace(minute=0)),)


arrivals = st.lists(
    st.tuples(st.integers(0, 19), st.integers(0, 9), st.integers(1, 100)),
    max_size=15,
    unique_by=lambda one: one[:2],
)


@settings(max_examples=60, deadline=None)
@given(arrivals, st.booleans(), st.sets(st.integers(0, 19)))
def test_whatever_lands_and_whenever_an_hour_is_whole_or_gone(
    arrivals: list[tuple[int, int, int]], atomic: bool, days_without_maintenance: set[int]
) -> None:
    """(day it lands, hour of the data, value): an hour shows its newest fact, until it is gone for good."""
    store = world(atomic=atomic)
    newest: dict[int, int] = {}
    gone: set[int] = set()
    for day in range(20):
        for landing_day, number, value in arrivals:
            if landing_day == day:
                land(store, Version(0, 1, day), {"a": value}, hour=HOUR + number * DAY)
                newest[number] = value
        compact(store)
        if day not in days_without_maintenance:
            prune(store, CATALOG)
            gone |= {number for number in newest if HOUR + number * DAY + ONE_HOUR <= store.now - KEPT}
        for number, value in newest.items():
            try:
                rows = freshest_totals(store, DATASET, HOUR + number * DAY)
            except HourExpired:
                assert HOUR + number * DAY + ONE_HOUR <= store.now - KEPT - EMPTY
                continue
            assert rows["n"].to_list() == ([] if number in gone else [value])
        store.now += DAY
    for _ in range(3):
        prune(store, CATALOG)
        store.now += 20 * DAY
    assert names(store, "landing/") == set()
    assert names(store, DATASET.prefix) == set()


def test_what_the_lives_of_a_feed_said_goes_by_age_and_the_newest_stay() -> None:
    store = world()
    for number in range(1, 16):
        store.put(f"control/feed-orders/status/{number:08d}.json", b"{}")
        store.put(f"control/feed-orders/epochs/{number:08d}.json", b"{}")
    store.now += 91 * DAY
    feed = FeedSpec(name="orders", kind="orders", topic="orders")
    prune(store, CATALOG.model_copy(update={"feeds": {"orders": feed}}))
    left = [info.key for info in store.list_objects("control/feed-orders/status/")]
    assert left == [f"control/feed-orders/status/{number:08d}.json" for number in range(6, 16)]
    assert len(list(store.list_objects("control/feed-orders/epochs/"))) == 15, "a number is never given twice"
