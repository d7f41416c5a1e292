"""Who is waited for before a feed begins; the store is in memory, and its clock is moved by hand."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from millrace.control.epochs import claim_epoch
from millrace.control.feed_report import FeedReport
from millrace.control.status import DriverStatus, write_status
from millrace.feeds.predecessors import wait_for_predecessors
from millrace.feeds.stop import Stop
from millrace.store import MemoryStore, StoreUnavailable

NAME = "feed-orders"
START = datetime(2026, 3, 1, 12, tzinfo=UTC)
SILENT = timedelta(seconds=30)


class Store(MemoryStore):
    away = False

    def get(self, key: str):
        if self.away:
            raise StoreUnavailable("away")
        return super().get(key)


class Waiting(Stop):
    """Each wait is a second of the store's clock, and what happens in it."""

    def __init__(self, store: Store, happens: dict[int, Callable[[], object]] | None = None) -> None:
        super().__init__()
        self.store, self.happens, self.seconds = store, happens or {}, 0

    def wait(self, seconds: float) -> bool:
        self.seconds += 1
        self.store.now += timedelta(seconds=1)
        self.happens.get(self.seconds, lambda: None)()
        assert self.seconds < 1000
        return self.is_set


@pytest.fixture
def store() -> Store:
    made = Store()
    made.now = START
    return made


def lives(store: Store, state: str = "running", lease: float | None = 20, report: bool = True) -> int:
    """An instance on another host, which cannot be asked about; its epoch."""
    epoch = claim_epoch(store, NAME, spec_revision=1, host="elsewhere", pid=7)
    if report:
        says(store, epoch, state, lease)
    return epoch


def says(store: Store, epoch: int, state: str = "running", lease: float | None = 20) -> None:
    status = DriverStatus(
        stream=NAME, driver_epoch=epoch, spec_revision=1, host="elsewhere", pid=7, state=state,
        started_at=START, heartbeat_at=store.now, feed=FeedReport(lease_seconds=lease),
    )  # fmt: skip
    write_status(store, status)


def waited(store: Store, happens: dict[int, Callable[[], object]] | None = None) -> int:
    """For how many seconds the next instance waits."""
    stop = Waiting(store, happens)
    wait_for_predecessors(store, NAME, claim_epoch(store, NAME, spec_revision=1), SILENT, stop)
    return stop.seconds


def test_the_first_waits_for_nobody(store: Store) -> None:
    assert waited(store) == 0


def test_one_that_falls_silent_is_waited_for_until_its_lease_is_long_over(store: Store) -> None:
    lives(store)
    assert waited(store) == 31


def test_one_that_hears_of_its_successor_is_waited_for_until_it_has_delivered(store: Store) -> None:
    epoch = lives(store)
    happens = {5: lambda: says(store, epoch, "stopping"), 40: lambda: says(store, epoch, "fenced")}
    happens[30] = happens[5]
    assert waited(store, happens) == 40


def test_one_with_a_longer_lease_than_ones_own_is_waited_for_accordingly(store: Store) -> None:
    lives(store, lease=240)
    assert waited(store) == 361


def test_one_that_has_claimed_its_epoch_and_not_yet_reported_may_send_as_well(store: Store) -> None:
    lives(store, report=False)
    assert waited(store) == 31


def test_one_that_died_while_it_waited_hides_nobody(store: Store) -> None:
    lives(store)
    store.now += timedelta(seconds=10)
    lives(store, "failed")
    assert waited(store) == 21


def test_while_the_store_does_not_answer_nobody_knows_and_it_waits(store: Store) -> None:
    lives(store, "stopped")
    store.away = True
    assert waited(store, {50: lambda: setattr(store, "away", False)}) == 50


def test_it_waits_no_longer_when_it_is_to_stop(store: Store) -> None:
    lives(store)
    stop = Waiting(store)
    stop.happens[3] = stop.set
    wait_for_predecessors(store, NAME, 2, SILENT, stop)
    assert stop.seconds == 3
