"""Which feeds `millrace up` starts and ends, by what was ordered before."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from millrace.catalog import CatalogError, load_catalog
from millrace.control import exit_codes
from millrace.control.desired import DesiredState
from millrace.control.outdated import config_of
from millrace.control.status import DriverStatus, write_status
from millrace.local.feeds import WHO, Feeds, Step, steps_towards, trouble
from millrace.settings import PROJECT_ROOT
from millrace.store import MemoryStore

CATALOG = load_catalog(PROJECT_ROOT / "catalog")
ADDRESS = "gbfs:http://example.org/gbfs.json"


def was(state: str, who: str, feed: str = "city", of: str = "city") -> DesiredState:
    config = config_of(Feeds.of(CATALOG, of, []).known[f"feed-{feed}"])
    return DesiredState(
        state=state, spec_revision=3, config=config, who=who, why="", at=datetime(2026, 3, 1, tzinfo=UTC)
    )


def test_wanted_are_the_chosen_one_and_those_of_the_chosen_streams() -> None:
    feeds = Feeds.of(
        CATALOG, "city", ["station_hourly", "order_metrics", "trending_hashtags", "user_activity"]
    )
    assert feeds.wanted == ["feed-city", "feed-orders", "feed-posts_demo"]
    assert Feeds.of(CATALOG, "orders", ["order_metrics"]).wanted == ["feed-orders"]
    assert Feeds.of(CATALOG, ADDRESS, []).wanted == ["feed-gbfs"]
    with pytest.raises(CatalogError, match="there is no feed 'nothing'"):
        Feeds.of(CATALOG, "nothing", [])


@pytest.mark.parametrize(
    ("before", "wanted", "asked", "then", "order"),
    [
        (None, True, False, "run", "start"),
        (None, False, False, None, None),
        (was("running", WHO), True, False, "run", None),
        (was("running", "ada"), True, False, "run", None),
        (was("running", WHO), False, False, "end", "stop"),
        (was("running", "ada"), False, False, "run", None),
        (was("stopped", WHO), True, False, "run", "start"),
        (was("stopped", "ada"), True, False, None, None),
        (was("stopped", "ada"), True, True, "run", "start"),
        (was("stopped", WHO), False, True, None, None),
        (was("stopped", "ada"), False, True, None, None),
    ],
)
def test_what_a_person_ordered_is_respected_and_what_the_stack_ordered_follows_its_choices(
    before: DesiredState | None, wanted: bool, asked: bool, then: str | None, order: str | None
) -> None:
    feeds = Feeds.of(CATALOG, "city" if wanted else ADDRESS, [])
    found = [
        step for step in steps_towards(feeds, {"feed-city": before}, asked=asked) if step.name == "feed-city"
    ]
    assert [(step.then, step.order) for step in found] == ([(then, order)] if then else [])


def test_other_addresses_are_deployed_at_once_but_a_changed_entry_waits_for_an_order() -> None:
    before = was("running", WHO, "gbfs", ADDRESS)
    same = Feeds.of(CATALOG, ADDRESS, [])
    other = Feeds.of(CATALOG, f"{ADDRESS},http://example.org/second/gbfs.json", [])

    def steps(feeds: Feeds) -> list[Step]:
        return steps_towards(feeds, {"feed-gbfs": before}, asked=True)

    assert steps(same) == [Step("feed-gbfs", "run")]
    assert [(step.then, step.order) for step in steps(other)] == [("run", "redeploy")]
    stopped = before.model_copy(update={"state": "stopped"})
    assert steps_towards(other, {"feed-gbfs": stopped}, asked=True) == [
        Step("feed-gbfs", "run", "start", "FEED or a chosen stream names it", anew=True)
    ]
    entry = was("running", WHO)
    entry.config["options"]["seed"] = 7
    assert steps_towards(Feeds.of(CATALOG, "city", []), {"feed-city": entry}, asked=False) == [
        Step("feed-city", "run")
    ]


def test_what_ends_ends_before_another_begins() -> None:
    feeds = Feeds.of(CATALOG, ADDRESS, [])
    steps = steps_towards(feeds, {"feed-city": was("running", WHO)}, asked=True)
    assert [(step.name, step.then) for step in steps] == [("feed-city", "end"), ("feed-gbfs", "run")]
    back = Feeds.of(CATALOG, "city", [])
    before = {"feed-gbfs": was("running", WHO, "gbfs", ADDRESS), "feed-city": was("stopped", WHO)}
    steps = steps_towards(back, before, asked=True)
    assert [(step.name, step.then) for step in steps] == [("feed-gbfs", "end"), ("feed-city", "run")]


def test_a_feed_that_has_ended_for_good_is_named_and_one_that_is_started_again_is_not() -> None:
    store, feeds = MemoryStore(), Feeds.of(CATALOG, "city", [])
    began = datetime(2026, 3, 1, 12, tzinfo=UTC)

    def said(exit_code: int, minute: int) -> str | None:
        moment = began.replace(minute=minute)
        status = DriverStatus(
            stream="feed-city", driver_epoch=1, spec_revision=1, host="here", pid=1, state="failed",
            started_at=moment, heartbeat_at=moment, exit_code=exit_code, error="no such key",
        )  # fmt: skip
        write_status(store, status)
        return trouble(store, feeds, began.replace(minute=5))

    assert trouble(store, feeds, began) is None
    assert said(exit_codes.BAD_CONFIGURATION, minute=10) == "feed-city: no such key"
    assert said(exit_codes.BAD_CONFIGURATION, minute=1) is None, "of an earlier time"
    assert said(1, minute=10) is None, "the stream host starts it again"
