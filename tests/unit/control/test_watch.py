from __future__ import annotations

from datetime import timedelta

import pytest

from millrace.control.history import History, with_health, write_history
from millrace.control.preflight import write_preflight
from millrace.control.status import write_status
from millrace.control.view import read_view
from millrace.control.watch import ControlWatch
from millrace.store import MemoryStore, StoreUnavailable
from millrace.supervision import Rules
from tests.unit.control.samples import NOW, desired, preflight, status


class CountingStore(MemoryStore):
    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.gets: list[str] = []
        self.listings = 0
        self.away = False

    def get(self, key):
        if self.away:
            raise StoreUnavailable("away")
        self.gets.append(key)
        return super().get(key)

    def list_objects(self, prefix, *, after=None):
        if self.away:
            raise StoreUnavailable("away")
        self.listings += 1
        return super().list_objects(prefix, after=after)


@pytest.fixture
def store():
    return CountingStore()


@pytest.fixture
def clock():
    return [1000.0]


@pytest.fixture
def watch(store, clock):
    return ControlWatch(store, monotonic=lambda: clock[0])


def deploy(store, stream: str, lag: int = 0) -> None:
    store.put(f"control/{stream}/desired.json", desired().to_body())
    store.put(f"control/{stream}/epochs/00000003.json", b"{}")
    write_status(store, status(stream=stream, lag=lag).status)


def test_fifty_streams_cost_one_listing_and_a_get_for_what_changed(store, watch):
    names = [f"stream_{number}" for number in range(50)]
    for name in names:
        deploy(store, name)
    assert set(watch.refresh().views) == set(names)
    assert (store.listings, len(store.gets)) == (1, 100)
    store.gets.clear()
    watch.refresh()
    assert (store.listings, store.gets) == (2, [])
    write_status(store, status(stream="stream_7", lag=8).status)
    assert watch.refresh().views["stream_7"].status.status.lag == 8
    assert store.gets == ["control/stream_7/status/00000003.json"]


def test_it_sees_what_a_direct_reading_sees(store, watch):
    deploy(store, "bikes", lag=5)
    write_history(
        store,
        "bikes",
        with_health(History(), NOW, read_view(store, "bikes", NOW, Rules()).health),
        replacing=None,
    )
    assert watch.refresh().views["bikes"] == read_view(store, "bikes", NOW, Rules())


def test_the_age_of_an_unchanged_heartbeat_grows_by_the_local_monotonic_clock(store, watch, clock):
    deploy(store, "bikes")
    assert watch.refresh().views["bikes"].health.state == "idle"
    clock[0] += 29
    assert watch.refresh().views["bikes"].health.state == "idle"
    clock[0] += 3
    view = watch.refresh().views["bikes"]
    assert (view.health.state, view.status.age) == ("silent", timedelta(seconds=32))


def test_the_same_words_written_again_are_a_heartbeat(store, watch, clock):
    deploy(store, "bikes")
    watch.refresh()
    clock[0] += 60
    store.now += timedelta(seconds=60)
    deploy(store, "bikes")
    assert watch.refresh().views["bikes"].health.state == "idle"


def test_a_preflight_is_seen_and_is_silent_when_it_says_no_more(store, watch, clock):
    deploy(store, "bikes")
    write_status(store, status("stopped").status)
    write_preflight(store, "bikes", preflight().preflight)
    view = watch.refresh().views["bikes"]
    assert view == read_view(store, "bikes", NOW, Rules())
    assert view.health.state == "trying"
    clock[0] += 31
    assert watch.refresh().views["bikes"].health.state == "stopped"


def test_only_the_newest_driver_counts(store, watch):
    deploy(store, "bikes")
    write_status(store, status("starting", epoch=4).status)
    store.put("control/bikes/epochs/00000005.json", b"{}")
    view = watch.refresh().views["bikes"]
    assert (view.status.status.driver_epoch, view.newest_epoch) == (4, 5)


def test_one_stream_that_cannot_be_understood_does_not_hide_the_others(store, watch):
    deploy(store, "bikes")
    store.put("control/broken/desired.json", b"{")
    snapshot = watch.refresh()
    assert set(snapshot.views) == {"bikes"}
    assert "control/broken/desired.json" in snapshot.problems["broken"]


def test_streams_nobody_asked_for_are_not_read(store, watch):
    deploy(store, "bikes")
    deploy(store, "orders")
    assert set(watch.refresh(frozenset({"bikes"})).views) == {"bikes"}
    assert all("bikes" in key for key in store.gets)


def test_after_an_outage_of_the_store_it_goes_on(store, watch):
    deploy(store, "bikes")
    watch.refresh()
    store.away = True
    with pytest.raises(StoreUnavailable):
        watch.refresh()
    store.away = False
    store.gets.clear()
    assert watch.refresh().views["bikes"].health.state == "idle"
    assert store.gets == []
