"""What a redeploy remembers, and what goes back into force when it is refused where the driver begins."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from millrace import settings
from millrace.control import redeploy
from millrace.control.desired import DesiredState, read_desired
from millrace.control.health import Health
from millrace.control.order import next_desired
from millrace.control.orders import Outcome, put_outcome, read_orders
from millrace.control.redeploy import Tried, put_back_if_refused, redeploy_as_ordered, try_version
from millrace.control.status import write_status
from millrace.control.streamhost import stream_dir
from millrace.store import MemoryStore, PreconditionFailed
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
    monkeypatch.setattr(redeploy, "try_version", lambda spec: Tried("later", "Kafka is away"))
    assert redeploy_as_ordered(store, here, "bikes", 2).outcome == "later"
    assert redeploy.read_outcome(store, "bikes", 2) is None
    monkeypatch.setattr(redeploy, "try_version", lambda spec: Tried("refused", "the state"))
    said = redeploy_as_ordered(store, here, "bikes", 2)
    assert said.says == "the new version is refused: the state. The old configuration is started again"
    monkeypatch.setattr(redeploy, "try_version", lambda spec: Tried("done", "fine"))
    assert redeploy_as_ordered(store, here, "bikes", 2).outcome == "refused", "the first word stands"


@pytest.mark.parametrize(
    ("program", "outcome", "words"),
    [
        ('print(\'chatter\'); print(\'{"passed": true, "says": "fine"}\')', "done", "fine"),
        ('print(\'{"passed": false, "says": "no"}\')', "refused", "no"),
        ('print(\'{"passed": null, "says": "away"}\')', "later", "away"),
        (
            "import no_such_module",
            "refused",
            "its code does not run (exit 1): ModuleNotFoundError: No module named 'no_such_module'",
        ),
        (
            "import os; os.kill(os.getpid(), 9)",
            "refused",
            "its code does not run (killed by signal 9): it said nothing",
        ),
    ],
)
def test_a_version_that_cannot_even_say_why_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, outcome: str, words: str
) -> None:
    package = tmp_path / "spark_apps" / "runtime"
    package.mkdir(parents=True)
    for directory in (package, package.parent):
        (directory / "__init__.py").touch()
    (package / "preflight.py").write_text(program)
    monkeypatch.chdir(tmp_path)
    assert try_version(tmp_path / "spec.json") == Tried(outcome, words)
