"""The life of a supervised feed, with a store in memory and a feed that does what the test wants."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from millrace import settings
from millrace.catalog import CatalogError, FeedSpec, load_catalog
from millrace.control import exit_codes
from millrace.control.desired import DesiredState, write_desired
from millrace.control.epochs import claim_epoch
from millrace.control.heartbeat import Heartbeat
from millrace.control.lease import Lease
from millrace.control.outdated import config_of
from millrace.control.status import DriverStatus, newest_status, write_status
from millrace.control.supervised import SupervisedFeed
from millrace.feeds import predecessors, supervised
from millrace.feeds.choice import by_address
from millrace.feeds.http import FetchFailed
from millrace.feeds.interrupted import Interrupted
from millrace.feeds.sink import DeliveryError
from millrace.feeds.source_watch import SourceWatch
from millrace.feeds.stop import Stop
from millrace.feeds.supervised import SupervisedRun, runnable
from millrace.settings import PROJECT_ROOT
from millrace.store import MemoryStore
from tests.conftest import wait_until

SPEC = SupervisedFeed.of(
    FeedSpec(name="orders", kind="orders", topic="orders", heartbeat=timedelta(milliseconds=20))
)
HERE = replace(settings.load({"MILLRACE_HOME": "/nowhere"}), catalog_dir=PROJECT_ROOT / "catalog")

Does = Callable[[Stop, SourceWatch], None]


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> MemoryStore:
    made = MemoryStore()
    monkeypatch.setattr(supervised, "open_store", lambda _: made)
    return made


def live(monkeypatch: pytest.MonkeyPatch, does: Does) -> int:
    """One life; the exit code."""

    def run_feed(spec, settings, catalog, *, stop, watch, lease, on_running) -> None:
        assert lease.held, "it has just claimed its epoch"
        on_running()
        does(stop, watch)

    monkeypatch.setattr(supervised, "run_feed", run_feed)
    return SupervisedRun(SPEC, HERE, revision=3).run()


def raising(error: Exception) -> Does:
    def does(stop: Stop, watch: SourceWatch) -> None:
        raise error

    return does


@pytest.mark.parametrize(
    ("does", "code", "state", "words"),
    [
        (lambda stop, watch: None, exit_codes.FINISHED, "finished", None),
        (raising(CatalogError("no such key")), exit_codes.BAD_CONFIGURATION, "failed", "no such key"),
        (raising(DeliveryError("Kafka refused")), 1, "failed", "Kafka refused"),
        (raising(FetchFailed("no answer")), 1, "failed", "no answer"),
        (raising(ZeroDivisionError("oh")), 1, "failed", "ZeroDivisionError: oh"),
        (raising(Interrupted("cut short")), 1, "failed", "cut short"),
    ],
)
def test_every_end_has_its_exit_code_and_its_last_words(monkeypatch, store, does, code, state, words) -> None:
    assert live(monkeypatch, does) == code
    last = newest_status(store, "feed-orders")
    assert (last.state, last.exit_code, last.error, last.spec_revision) == (state, code, words, 3)


def test_it_says_what_it_does_while_it_does_it_and_ends_when_it_is_told_to(monkeypatch, store) -> None:
    seen: list[DriverStatus] = []

    def does(stop: Stop, watch: SourceWatch) -> None:
        watch.runs_at(0.1)
        watch.sent()
        watch.sent()
        watch.stored()
        watch.rejected("bad_json", "not JSON")
        wait_until(lambda: newest_status(store, SPEC.name).records == 1, 5, "a heartbeat with it")
        seen.append(newest_status(store, SPEC.name))
        order = DesiredState(
            state="stopped", spec_revision=4, config=config_of(SPEC), who="a", why="b", at=datetime.now(UTC)
        )
        write_desired(store, SPEC.name, order, replacing=None)
        assert stop.wait(5)
        raise Interrupted("a recording that was cut short by that")

    assert live(monkeypatch, does) == exit_codes.STOPPED
    (status,) = seen
    assert (status.state, status.lag, status.rejected, status.feed.pace) == (
        "running",
        1,
        {"bad_json": 1},
        0.1,
    )
    assert newest_status(store, SPEC.name).state == "stopped"


def test_it_ends_when_a_newer_one_has_taken_over(monkeypatch, store) -> None:
    def does(stop: Stop, watch: SourceWatch) -> None:
        claim_epoch(store, SPEC.name, spec_revision=3)
        assert stop.wait(5)

    assert live(monkeypatch, does) == exit_codes.FENCED
    last = newest_status(store, SPEC.name)
    assert (last.driver_epoch, last.state, last.error) == (1, "fenced", "feed epoch 2 has taken over")


def earlier(store: MemoryStore, pid: int, state: str = "running", age: float = 0) -> DriverStatus:
    """What another instance wrote, `age` seconds ago."""
    epoch = claim_epoch(store, SPEC.name, spec_revision=3)
    made = earlier_status(epoch, pid, state)
    store.now = made.heartbeat_at - timedelta(seconds=age)
    write_status(store, made)
    store.now = made.heartbeat_at
    return made


def earlier_status(epoch: int, pid: int, state: str = "running") -> DriverStatus:
    now = datetime.now(UTC)
    return DriverStatus(
        stream=SPEC.name, driver_epoch=epoch, spec_revision=3, host=socket.gethostname(), pid=pid,
        state=state, started_at=now, heartbeat_at=now,
    )  # fmt: skip


def test_it_begins_only_when_the_earlier_one_has_delivered_all(monkeypatch, store) -> None:
    other = earlier(store, os.getppid())
    began: list[str] = []

    def ends() -> None:
        wait_until(lambda: newest_status(store, SPEC.name).driver_epoch == 2, 5, "the new one to report")
        assert (newest_status(store, SPEC.name).state, began) == ("starting", [])
        write_status(store, other.model_copy(update={"state": "fenced"}))

    monkeypatch.setattr(predecessors, "LOOK_EVERY", 0.02)
    thread = threading.Thread(target=ends)
    thread.start()
    assert live(monkeypatch, lambda stop, watch: began.append("now")) == exit_codes.FINISHED
    thread.join()
    assert began == ["now"]


@pytest.mark.parametrize(
    ("pid", "state", "age"), [(2**22 + 1, "running", 0), (1, "stopped", 0), (1, "running", 31)]
)
def test_it_does_not_wait_for_the_dead(monkeypatch, store, pid, state, age) -> None:
    earlier(store, pid, state, age)
    monkeypatch.setattr(Stop, "wait", lambda self, seconds: pytest.fail("it waits"))
    assert live(monkeypatch, lambda stop, watch: None) == exit_codes.FINISHED


@pytest.mark.parametrize(
    "error", [DeliveryError("withdrawn"), Interrupted("paused"), ZeroDivisionError("oh")]
)
def test_who_was_fenced_ends_as_fenced_whatever_else_went_wrong(monkeypatch, store, error) -> None:
    def does(stop: Stop, watch: SourceWatch) -> None:
        claim_epoch(store, SPEC.name, spec_revision=3)
        assert stop.wait(5)
        raise error

    assert live(monkeypatch, does) == exit_codes.FENCED, (
        "one that crashed would be started, and fence in turn"
    )


def test_a_heartbeat_renews_the_lease_and_one_that_finds_a_successor_does_not(store) -> None:
    now, fences = [100.0], []
    lease = Lease(timedelta(seconds=30), now=lambda: now[0])
    epoch = claim_epoch(store, SPEC.name, spec_revision=3)

    def status() -> DriverStatus:
        now[0] += 3  # the time that the answers take is not given away
        return earlier_status(epoch, os.getpid())

    heart = Heartbeat(
        store,
        SPEC.name,
        epoch,
        5.0,
        status=status,
        on_stop=lambda _: None,
        on_fenced=fences.append,
        lease=lease,
    )
    assert not lease.held
    heart.beat()
    now[0] = 119.9
    assert lease.held
    now[0] = 120.0
    assert not lease.held
    claim_epoch(store, SPEC.name, spec_revision=3)
    heart.beat()
    assert (lease.held, fences) == (False, [2])


def test_what_is_hidden_in_the_store_is_filled_in_here_if_it_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = load_catalog(PROJECT_ROOT / "catalog")
    monkeypatch.setenv("MILLRACE_FEED", "gbfs:https://a.org/gbfs.json?key=hush")
    deployed = SupervisedFeed.of(by_address(["https://a.org/gbfs.json?key=hush"]))
    assert "hush" not in deployed.model_dump_json()
    assert runnable(deployed, HERE, catalog).options == {"systems": ["https://a.org/gbfs.json?key=hush"]}
    monkeypatch.setenv("MILLRACE_FEED", "gbfs:https://b.org/gbfs.json?key=hush")
    with pytest.raises(CatalogError, match="says something else by now"):
        runnable(deployed, HERE, catalog)
    plain = SupervisedFeed.of(by_address(["https://a.org/gbfs.json"]))
    assert runnable(plain, HERE, catalog).options == {"systems": ["https://a.org/gbfs.json"]}
