from __future__ import annotations

from datetime import timedelta

import pytest
from pydantic import ValidationError

from millrace.catalog import FeedSpec, load_catalog
from millrace.control.health import Thresholds
from millrace.control.outdated import config_of, differences
from millrace.control.streamhost import log_file, stream_dir
from millrace.control.supervised import (
    SupervisedFeed,
    dag_of,
    named,
    spec_of,
    supervised,
    thresholds_for,
)
from millrace.feeds.choice import by_address
from millrace.settings import PROJECT_ROOT
from millrace.supervision import HealthRules
from tests.unit.control.samples import SPEC

CATALOG = load_catalog(PROJECT_ROOT / "catalog")
FEED = FeedSpec(name="orders", kind="orders", topic="orders", options={"rate": 10})


def test_streams_and_feeds_stand_side_by_side_under_names_that_cannot_clash():
    known = supervised(CATALOG)
    assert set(known) == {*CATALOG.streams, *(f"feed-{name}" for name in CATALOG.feeds)}
    assert all(spec.name == name for name, spec in known.items())


def test_a_feed_that_is_not_in_the_catalog_is_there_too():
    known = supervised(CATALOG, [by_address(["http://a/gbfs.json"])])
    assert known["feed-gbfs"].options == {"systems": ["http://a/gbfs.json"]}


def test_a_person_may_leave_the_prefix_out_unless_a_stream_has_that_name():
    known = supervised(CATALOG)
    assert [named(known, name) for name in ("orders", "feed-orders", "station_hourly", "nothing")] == [
        "feed-orders",
        "feed-orders",
        "station_hourly",
        "nothing",
    ]


def test_what_is_deployed_of_a_feed_can_be_read_back():
    spec = SupervisedFeed.of(FEED)
    assert spec_of(config_of(spec)) == spec
    assert spec_of(config_of(SPEC)) == SPEC
    changed = SupervisedFeed.of(FEED.model_copy(update={"options": {"rate": 20}}))
    assert differences(config_of(spec), config_of(changed)) == [
        "options: {'rate': 10} is deployed, the catalog says {'rate': 20}"
    ]
    renamed = FEED.model_copy(update={"description": "other words restart nothing"})
    assert differences(config_of(spec), config_of(SupervisedFeed.of(renamed))) == []


def test_what_was_deployed_by_an_older_version_takes_the_defaults_of_today():
    old = {"name": "feed-orders", "kind": "orders", "topic": "orders"}
    assert spec_of(old).stop_within == timedelta(seconds=30)
    with pytest.raises(ValidationError):
        spec_of({"name": "feed-../x", "kind": "orders", "topic": "orders"})


def test_addresses_are_deployed_without_their_secrets():
    secret = by_address(["https://ada:hush@example.org:8443/gbfs.json?token=hush", "https://b.org/gbfs.json"])
    assert SupervisedFeed.of(secret).options == {
        "systems": ["https://***@example.org:8443/gbfs.json?***", "https://b.org/gbfs.json"]
    }


def test_thresholds_fit_what_it_is():
    assert thresholds_for(SPEC) == Thresholds.of(SPEC)
    slow = FEED.model_copy(
        update={"heartbeat": timedelta(seconds=20), "health": HealthRules(stalled_after="9min")}
    )
    found = thresholds_for(SupervisedFeed.of(slow))
    assert (found.silent_after, found.stalled_after) == (timedelta(minutes=2), timedelta(minutes=9))
    assert thresholds_for(SupervisedFeed.of(FEED)).stalled_after == timedelta(minutes=2)


def test_each_has_its_dag_its_log_and_its_directory(tmp_path):
    assert (dag_of("bikes"), dag_of("feed-orders")) == ("stream__bikes", "feed__orders")
    assert log_file(tmp_path, "feed-orders") == tmp_path / "logs" / "feed-orders.log"
    assert stream_dir(tmp_path, "feed-orders") == tmp_path / "feeds" / "orders"


def test_all_that_the_catalog_says_of_a_feeds_health_counts():
    said = HealthRules(
        silent_after="11s", start_within="12s", stalled_after="13s", down_after="14s", recovered_after="15s"
    )
    found = thresholds_for(SupervisedFeed.of(FEED.model_copy(update={"health": said})))
    for name, value in said.model_dump(exclude_none=True).items():
        assert getattr(found, name) == value, name
