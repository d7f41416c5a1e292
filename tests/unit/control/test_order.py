from __future__ import annotations

from datetime import timedelta

import pytest

from millrace.catalog import FeedSpec
from millrace.control.desired import read_desired
from millrace.control.health import Health
from millrace.control.order import OrderRefused, give_order, next_desired, what_is_next
from millrace.control.orders import Order, Outcome, put_order, put_outcome, read_orders, took_effect
from millrace.control.status import write_status
from millrace.control.supervised import SupervisedFeed
from millrace.store import MemoryStore, StoreUnavailable
from tests.unit.control.samples import NOW, SPEC, ago, desired, status

IDLE = Health("idle", "driver epoch 3 has read everything there is", healthy=True)
STOPPED = Health("stopped", "as asked", healthy=True)
FAILED = Health("failed", "boom", healthy=False)
SOCKET = SPEC.model_copy(
    update={
        "source": type(SPEC)
        .model_validate({"name": "words", "app": "a", "source": "socket://127.0.0.1:9999", "sinks": ["live"]})
        .source
    }
)


def after(action, now_desired, health=IDLE, spec=SPEC):
    return next_desired(action, spec, now_desired, health, revision=8, who="bob", why="because", at=NOW)


@pytest.mark.parametrize(
    ("action", "before", "health", "state", "reset"),
    [
        ("start", None, STOPPED, "running", 0),
        ("start", "stopped", STOPPED, "running", 0),
        ("start", "running", FAILED, "running", 0),
        ("stop", "running", IDLE, "stopped", 0),
        ("stop", "running", FAILED, "stopped", 0),
        ("restart", "running", IDLE, "running", 0),
        ("redeploy", "running", IDLE, "running", 0),
        ("redeploy", "stopped", STOPPED, "stopped", 0),
        ("reset", "running", IDLE, "running", 8),
        ("reset", "running", FAILED, "running", 8),
        ("reset", "stopped", STOPPED, "stopped", 8),
    ],
)
def test_an_order_changes_what_it_says_and_says_who_and_why(action, before, health, state, reset):
    new = after(action, desired(before) if before else None, health)
    assert (new.state, new.reset_revision) == (state, reset)
    assert (new.spec_revision, new.who, new.why, new.at) == (8, "bob", "because", NOW)
    assert new.config == SPEC.model_dump(mode="json")


def test_only_redeploy_and_reset_take_what_the_catalog_says_now():
    changed = SPEC.model_copy(update={"trigger": timedelta(seconds=9)})
    assert {
        action: after(
            action, desired("stopped" if action == "start" else "running"), STOPPED, changed
        ).config["trigger"]
        for action in ("start", "stop", "restart", "redeploy", "reset")
    } == {"start": "5s", "stop": "5s", "restart": "5s", "redeploy": "9s", "reset": "9s"}


def test_a_reset_that_has_yet_to_be_done_is_not_forgotten_by_later_orders():
    assert after("start", desired("stopped", reset_revision=5), STOPPED).reset_revision == 5


@pytest.mark.parametrize(
    ("action", "before", "health", "words"),
    [
        ("start", "running", IDLE, r"bikes runs already \(idle: .*to begin it anew, order restart"),
        ("stop", "stopped", STOPPED, r"to be stopped already \(ada, 2026-02-28 12:00 UTC: a test\)"),
        ("restart", "stopped", STOPPED, r"is stopped \(ada, .*order start"),
        ("reset", "stopped", IDLE, "is still ending"),
        *(
            (action, None, STOPPED, "never been deployed")
            for action in ("stop", "restart", "redeploy", "reset")
        ),
    ],
)
def test_what_makes_no_sense_is_refused_with_what_to_do(action, before, health, words):
    with pytest.raises(OrderRefused, match=words):
        after(action, desired(before) if before else None, health)


def test_a_source_that_cannot_be_read_again_is_not_reset():
    with pytest.raises(OrderRefused, match="cannot be read again, so nothing"):
        after("reset", desired(), IDLE, SOCKET)


def test_a_configuration_that_the_state_does_not_fit_needs_a_reset():
    changed = SPEC.model_copy(update={"buckets": 4})
    with pytest.raises(OrderRefused, match=r"buckets: 1 is deployed, the catalog says 4.*order reset"):
        after("redeploy", desired(), IDLE, changed)
    assert after("reset", desired(), IDLE, changed).config["buckets"] == 4


# Giving it.


class Raced(MemoryStore):
    """`before_put` runs once, right before the first PUT: somebody else in the same moment."""

    before_put = None

    def put(self, key, body, **conditions):
        if self.before_put is not None:
            somebody_else, self.before_put = self.before_put, None
            somebody_else()
        return super().put(key, body, **conditions)


@pytest.fixture
def store():
    made = Raced()
    made.now = NOW
    made.put("control/bikes/desired.json", desired().to_body())
    write_status(made, status().status)
    return made


def order(store, action, who="bob", **more):
    more = {"check_reset": lambda spec: None} | more
    return give_order(
        store, {"bikes": SPEC}, "bikes", action, who=who, why="because", clock=lambda: NOW, **more
    )


def test_orders_are_kept_with_who_when_and_why(store):
    for action in ("restart", "stop"):
        order(store, action)
    write_status(store, status("stopped").status)
    order(store, "start", who="eve")
    kept = [
        (one.order.action, one.order.spec_revision, one.order.who)
        for one in read_orders(store, "bikes", newest=9)
    ]
    assert kept == [("restart", 2, "bob"), ("stop", 3, "bob"), ("start", 4, "eve")]
    assert [one.order.spec_revision for one in read_orders(store, "bikes", newest=2)] == [3, 4]
    assert read_desired(store, "bikes").spec_revision == 4


def test_what_a_redeploy_changes_is_kept_key_by_key(store):
    changed = SPEC.model_copy(update={"trigger": timedelta(seconds=9)})
    given = give_order(
        store, {"bikes": changed}, "bikes", "redeploy", who="a", why="b", check_reset=lambda spec: None
    )
    assert given.order.changes == ("trigger: '5s' is deployed, the catalog says '9s'",)


def test_an_unknown_stream_is_refused_with_those_there_are(store):
    with pytest.raises(OrderRefused, match=r"no stream 'bike' .* there are: bikes"):
        give_order(store, {"bikes": SPEC}, "bike", "stop", who="a", why="b", check_reset=lambda spec: None)


@pytest.mark.parametrize("atomic", [True, False])
def test_of_two_people_in_the_same_moment_one_is_refused_and_learns_what_the_other_did(store, atomic):
    if not atomic:  # as a store that checks first and writes later: the create-only order must hold alone
        original = store.put
        store.put = lambda key, body, if_match=None, if_absent=False: original(key, body, if_absent=if_absent)
    store.before_put = lambda: order(store, "stop", who="eve")
    with pytest.raises(
        OrderRefused, match=r"eve changed its desired state to stopped .* \(revision 2\): because"
    ):
        order(store, "restart")
    assert [one.order.who for one in read_orders(store, "bikes", newest=9)] == ["eve"]
    assert read_desired(store, "bikes").who == "eve"


def test_a_supervisor_that_writes_the_desired_state_in_between_is_not_overwritten(store):
    other = desired("stopped", spec_revision=7, who="eve")
    store.before_put = lambda: MemoryStore.put(store, "control/bikes/desired.json", other.to_body())
    with pytest.raises(OrderRefused, match="eve changed"):
        order(store, "restart")
    assert read_desired(store, "bikes") == other
    assert order(store, "start", who="bob").desired.spec_revision == 8


def test_who_saw_another_revision_is_refused(store):
    with pytest.raises(OrderRefused, match="ada changed its desired state to running"):
        order(store, "stop", seen_revision=0)
    assert order(store, "stop", seen_revision=1).desired.spec_revision == 2


def test_an_order_whose_giver_died_halfway_is_waited_for_and_then_passed_over(store):
    half = Order(spec_revision=2, decided_on=1, action="stop", who="eve", why="x", at=NOW)
    put_order(store, "bikes", half)
    with pytest.raises(OrderRefused, match="eve ordered stop 0 s ago"):
        order(store, "restart")
    store.now += timedelta(seconds=31)
    write_status(store, status().status)
    assert order(store, "restart").desired.spec_revision == 3
    first, second = (one.order for one in read_orders(store, "bikes", newest=9))
    assert not took_effect(first, second, 3)
    assert took_effect(second, None, 3)


def test_a_store_that_is_away_says_so_and_the_desired_state_is_as_it_was(store):
    def away():
        raise StoreUnavailable("away")

    store.before_put = away
    with pytest.raises(StoreUnavailable):
        order(store, "stop")
    assert read_desired(store, "bikes").spec_revision == 1


def test_a_reset_that_cannot_be_done_changes_nothing(store):
    def refuse(spec):
        raise OrderRefused("Kafka no longer holds it")

    before = dict(store.objects)
    with pytest.raises(OrderRefused, match="no longer holds"):
        order(store, "reset", check_reset=refuse)
    assert store.objects == before


def test_how_a_reset_ended_stands_beside_its_order_and_the_first_word_counts(store):
    order(store, "reset")
    for word in ("done", "refused"):
        put_outcome(store, "bikes", 2, Outcome(outcome=word, says=word, at=NOW))
    (stored,) = read_orders(store, "bikes", newest=9)
    assert stored.outcome.outcome == "done"


def test_what_is_next_is_said_for_each(store):
    said = what_is_next(order(store, "stop"), IDLE)
    assert said.startswith("the driver of bikes finishes its micro-batch, commits and ends")
    write_status(store, status("stopped", age=1).status)
    assert what_is_next(order(store, "reset"), STOPPED) == (
        "bikes stays stopped (stopped); it is reset when it is started next"
    )
    assert "counted anew from Kafka" in what_is_next(order(running_beside(store), "reset"), IDLE)


def running_beside(store):
    """The same stream, running."""
    made = MemoryStore()
    made.now = store.now
    made.put("control/bikes/desired.json", desired(at=ago(5)).to_body())
    write_status(made, status().status)
    return made


FEED = SupervisedFeed.of(
    FeedSpec(name="town", kind="gbfs", topic="station_polls", options={"interval": "30s"})
)


def test_a_feed_is_ordered_as_a_stream_is_but_has_nothing_to_reset(store):
    def order(action):
        return give_order(
            store, {FEED.name: FEED}, FEED.name, action, who="bob", why="because", check_reset=pytest.fail
        )

    given = order("start")
    assert given.desired.config == FEED.model_dump(mode="json")
    said = [what_is_next(given, STOPPED)]
    for action in ("restart", "redeploy", "stop"):
        said.append(what_is_next(order(action), IDLE))
    assert read_desired(store, "feed-town").state == "stopped"
    said.append(what_is_next(order("redeploy"), STOPPED))
    assert not [words for words in said if "micro-batch" in words or "driver" in words], said
    with pytest.raises(OrderRefused, match="feed-town is a feed and counts nothing"):
        order("reset")
