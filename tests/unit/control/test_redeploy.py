"""What a redeploy remembers, and what goes back into force when it is refused where the driver begins."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from millrace import settings
from millrace.control import redeploy
from millrace.control.desired import DesiredState, read_desired
from millrace.control.health import Health
from millrace.control.order import next_desired
from millrace.control.orders import Outcome, put_outcome, read_orders
from millrace.control.preflight import observe_preflight
from millrace.control.redeploy import Tried, put_back_if_refused, redeploy_as_ordered
from millrace.control.status import write_status
from millrace.control.streamhost import stream_dir
from millrace.store import MemoryStore, PreconditionFailed, StoreUnavailable
from tests.unit.control.samples import NOW, SPEC, desired, status

RUNNING = Health("idle", "", True)
OLD = SPEC.model_dump(mode="json")


def ordered(action: str, before: DesiredState, began: int, **changes: object) -> DesiredState:
    spec = SPEC.model_copy(update=changes)
    revision = before.spec_revision + 1
    return next_desired(
        action, spec, before, RUNNING, revision=revision, who="ada", why="a test", at=NOW, began=began
    )


def put(store: MemoryStore, state: DesiredState) -> None:
    store.put("control/bikes/desired.json", state.to_body())


@pytest.fixture
def here(tmp_path: Path) -> settings.Settings:
    stream_dir(tmp_path, "bikes").mkdir(parents=True)
    return replace(settings.load({}), home=tmp_path)


def test_a_redeploy_keeps_what_ran_until_a_driver_of_its_own_has_begun() -> None:
    ran = desired(code="0.1.0+pinned")
    first = ordered("redeploy", ran, began=1, max_messages_per_batch=7)
    assert (first.redeploy_revision, first.code, first.config["max_messages_per_batch"]) == (2, None, 7)
    assert (first.previous.config, first.previous.code) == (OLD, "0.1.0+pinned")
    again = ordered("redeploy", first, began=1, max_messages_per_batch=8)
    assert (again.redeploy_revision, again.previous) == (3, first.previous), (
        "what was never run is not gone back to"
    )
    later = ordered("redeploy", first, began=2, max_messages_per_batch=8)
    assert later.previous.config == first.config
    assert ordered("restart", first, began=1).previous == first.previous
    reset = ordered("reset", again, began=1)
    assert (reset.redeploy_revision, reset.previous, reset.reset_revision) == (0, None, 4)


def refused(store: MemoryStore, here: settings.Settings) -> str | None:
    put(store, ordered("redeploy", desired(), began=1, max_messages_per_batch=7))
    put_outcome(store, "bikes", 2, Outcome(outcome="refused", says="no", at=NOW))
    return put_back_if_refused(store, here, "bikes")


def test_after_a_refusal_the_old_version_is_in_force_as_a_new_revision(here: settings.Settings) -> None:
    store = MemoryStore()
    assert refused(store, here) == (
        "revision 3: the redeploy of revision 2 (ada: a test) was refused; the old version goes on"
    )
    back = read_desired(store, "bikes")
    assert (back.config, back.spec_revision, back.redeploy_revision, back.code) == (OLD, 3, 0, None)
    assert (back.state, back.who, back.previous) == ("running", "preflight", None)
    (kept,) = read_orders(store, "bikes", newest=5)
    assert (kept.order.action, kept.order.who, kept.order.decided_on) == ("redeploy", "preflight", 2)
    assert kept.order.changes == ("max_messages_per_batch: 7 was refused, 500 goes on",)
    assert put_back_if_refused(store, here, "bikes") is None, "once"


def test_the_old_code_comes_back_if_it_is_kept_and_another_is_there(here: settings.Settings) -> None:
    store = MemoryStore()
    write_status(store, status(code="0.1.0+old").status)
    refused(store, here)
    assert read_desired(store, "bikes").code is None, "it is not kept here"
    (stream_dir(here.home, "bikes") / "code" / "0.1.0+old").mkdir(parents=True)
    refused(store, here)
    assert read_desired(store, "bikes").code == "0.1.0+old"


def test_nothing_is_put_back_without_a_refusal_or_over_somebody_elses_order(
    here: settings.Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MemoryStore()
    assert put_back_if_refused(store, here, "bikes") is None
    put(store, ordered("redeploy", desired(), began=1))
    assert put_back_if_refused(store, here, "bikes") is None
    put_outcome(store, "bikes", 2, Outcome(outcome="done", says="yes", at=NOW))
    assert put_back_if_refused(store, here, "bikes") is None
    keep = redeploy.put_order

    def keep_late(*arguments: object) -> None:
        keep(*arguments)
        put(store, desired(spec_revision=9))

    monkeypatch.setattr(redeploy, "put_order", keep_late)
    store = MemoryStore()
    with pytest.raises(PreconditionFailed):
        refused(store, here)
    assert read_desired(store, "bikes").spec_revision == 9


def test_the_outcome_is_kept_beside_the_order_and_what_cannot_be_tried_now_has_none(
    here: settings.Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MemoryStore()
    put(store, ordered("redeploy", desired(), began=1))

    def tried(outcome: str, says: str) -> Tried:
        def stand_in(spec: Path, within: timedelta, beat: Callable[[float], None]) -> Tried:
            beat(61)
            said = observe_preflight(store, "bikes")
            assert (said.preflight.revision, said.preflight.state, said.preflight.for_seconds) == (
                2,
                "trying",
                61,
            )
            return Tried(outcome, says)

        monkeypatch.setattr(redeploy, "try_version", stand_in)
        found = redeploy_as_ordered(store, here, "bikes", 2, timedelta(minutes=10))
        assert observe_preflight(store, "bikes").ended_by(os.getpid())
        return found

    assert tried("later", "Kafka is away").outcome == "later"
    assert redeploy.read_outcome(store, "bikes", 2) is None
    said = tried("refused", "the state")
    assert said.says == "the new version is refused: the state. The old configuration is started again"
    assert tried("done", "fine").outcome == "refused", "the first word stands"


def test_a_store_that_does_not_hear_of_a_preflight_does_not_end_it(here: settings.Settings) -> None:
    class Deaf(MemoryStore):
        def put(self, key: str, body: bytes, **conditions: object) -> str:
            if key.endswith("preflight.json"):
                raise StoreUnavailable("away")
            return super().put(key, body, **conditions)

    store = Deaf()
    put(store, ordered("redeploy", desired(), began=1))
    assert redeploy_as_ordered(store, here, "bikes", 2, timedelta(0)).outcome == "refused"
    assert "did not end within 0 s" in redeploy.read_outcome(store, "bikes", 2).says
