"""Feeds have DAGs as streams have them, and the form orders them too."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from millrace.catalog import load_catalog
from millrace.control.desired import read_desired
from millrace.control.feed_report import FeedReport
from millrace.control.history import load_history
from millrace.control.orders import read_orders
from millrace.control.status import DriverStatus, write_status
from millrace.control.supervised import supervised
from millrace.settings import PROJECT_ROOT
from tests.dags.conftest import DAGS
from tests.dags.supervised_world import START, Shift, World

NAME = "feed-city"
KNOWN = supervised(load_catalog(PROJECT_ROOT / "catalog"))
FEED = KNOWN[NAME]


def report(world: World, state: str = "running", epoch: int = 1, **feed: Any) -> None:
    """What the feed says of itself; `feed` in seconds ago."""
    moments = {key: value and world.store.now - timedelta(seconds=value) for key, value in feed.items()}
    fields = {
        "stream": NAME,
        "driver_epoch": epoch,
        "spec_revision": 1,
        "host": "here",
        "pid": world.pid or 1,
        "state": state,
        "started_at": world.since,
        "heartbeat_at": world.store.now,
        "lag": 0,
        "feed": FeedReport(pace=30, **moments),
    }
    world.store.put(f"control/{NAME}/epochs/{epoch:08d}.json", b"{}")
    write_status(world.store, DriverStatus.model_validate(fields))


@pytest.fixture
def shift(dagbag, world):
    return Shift(dagbag.dags["feed__city"], spec=FEED)


def test_every_feed_of_the_catalog_has_a_dag_that_waits_for_the_stack_to_let_it_run(dagbag):
    feeds = {name for name in dagbag.dags if name.startswith("feed__")}
    assert feeds == {f"feed__{name}" for name in load_catalog(PROJECT_ROOT / "catalog").feeds}
    for name in feeds:
        assert dagbag.dags[name].is_paused_upon_creation, name
        assert dagbag.dags[name].schedule == "@continuous", name


def test_a_feed_is_deployed_watched_and_started_again_as_a_stream_is(shift, world):
    shift.begin()
    assert world.orders == ["start"]
    assert read_desired(world.store, NAME).config == FEED.model_dump(mode="json")
    world.later(25)
    report(world, last_sent_at=3)
    shift.resume(shift.wait())
    assert load_history(world.store, NAME).history.last_health.state == "running"
    world.later(1200)
    report(world, last_sent_at=600)
    event = shift.wait()
    assert "stalled" in event["reason"]
    assert "it last sent something 10 min ago, though it should every 30 s" in event["reason"]
    shift.resume(event)
    world.pid = None
    report(world, "failed", last_sent_at=600)
    world.later(60)
    shift.resume(shift.wait())
    assert world.orders == ["start", "start"]


def test_a_feed_that_has_finished_makes_a_green_shift(shift, world):
    shift.begin()
    world.later(25)
    report(world, last_sent_at=3)
    shift.resume(shift.wait())
    world.later(5)
    world.pid = None
    report(world, "finished", last_sent_at=3)
    world.later(7200)
    shift.deferred.kwargs["shift"]["ends_at"] = datetime.now(UTC).isoformat()
    event = {"kind": "shift_over", "reason": "the shift is over", "largest_lag": 0}
    assert shift.resume(event).result["state"] == "finished"
    assert world.orders == ["start"]


@dataclass
class Run:
    dag_id: str = "stream_control"
    run_id: str = "manual__1"
    triggering_user_name: str = "ada"
    try_number: int = 1


def order(action: str, stream: str = NAME) -> dict[str, str]:
    from millrace_airflow.control_tasks import carry_out_order

    form = {"stream": stream, "action": action, "why": "to see"}
    return carry_out_order({"params": form, "dag_run": Run(), "ti": Run()})


def test_the_form_lists_feeds_and_orders_them(dagbag, world):
    from airflow.sdk.exceptions import AirflowFailException

    assert set(dagbag.dags["stream_control"].params.get_param("stream").schema["enum"]) == set(KNOWN)
    world.since = START
    Shift(dagbag.dags["feed__city"], spec=FEED).begin()
    report(world, last_sent_at=1)
    world.pid = None
    assert order("stop")["says"] == "feed-city is stopped"
    assert read_desired(world.store, NAME).state == "stopped"
    kept = read_orders(world.store, NAME, newest=5)
    assert [(one.order.action, one.order.who) for one in kept] == [
        ("stop", "ada (Airflow, stream_control, manual__1)")
    ]
    with pytest.raises(AirflowFailException, match=r"reset was refused.*nothing to reset"):
        order("reset")


def test_a_feed_that_is_named_by_its_addresses_has_a_dag_that_begins(monkeypatch):
    from airflow.dag_processing.dagbag import DagBag

    monkeypatch.setenv("MILLRACE_FEED", "gbfs:https://example.org/gbfs.json?key=hush")
    bag = DagBag(dag_folder=str(DAGS / "feeds.py"))
    assert bag.import_errors == {}
    assert not bag.dags["feed__gbfs"].is_paused_upon_creation
    assert bag.dags["feed__city"].is_paused_upon_creation
    spec = bag.dags["feed__gbfs"].get_task("supervise").spec
    assert spec.options == {"systems": ["https://example.org/gbfs.json?***"]}


def test_a_feed_that_the_deployment_names_begins_by_itself(monkeypatch):
    from airflow.dag_processing.dagbag import DagBag

    monkeypatch.setenv("MILLRACE_FEEDS", "city,orders")
    bag = DagBag(str(DAGS / "feeds.py"))
    begun = {name for name, dag in bag.dags.items() if not dag.is_paused_upon_creation}
    assert begun == {"feed__city", "feed__orders"}
