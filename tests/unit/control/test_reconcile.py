from __future__ import annotations

import logging
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest

from millrace.control.desired import load_desired, read_desired, write_desired
from millrace.control.history import load_history, write_history
from millrace.control.outdated import differences
from millrace.control.process import HostUnavailable, LauncherError, ProcessInfo, ProcessState
from millrace.control.reconcile import Reconciler
from millrace.control.status import write_status
from millrace.store import MemoryStore, PreconditionFailed, StoreUnavailable
from tests.unit.control.samples import NOW, SPEC, ago, desired, process, status


class FakeHost:
    """A stream host that only keeps book; `problem` is raised by every call."""

    def __init__(self, state: ProcessState = ProcessState.STOPPED) -> None:
        self.process: ProcessInfo = process(state)
        self.orders: list[str] = []
        self.problem: LauncherError | None = None
        self.refuses: LauncherError | None = None

    def state(self, stream: str) -> ProcessInfo:
        if self.problem:
            raise self.problem
        return self.process

    def start(self, stream: str) -> None:
        self._order("start")

    def stop(self, stream: str, within: timedelta) -> None:
        self._order(f"stop within {within.total_seconds():g} s")

    def restart(self, stream: str, within: timedelta) -> None:
        self._order("restart")

    def _order(self, what: str) -> None:
        self.orders.append(what)
        if self.refuses:
            raise self.refuses


@pytest.fixture
def store():
    made = MemoryStore()
    made.now = NOW
    return made


@pytest.fixture
def host():
    return FakeHost()


@pytest.fixture
def reconciler(store, host):
    return Reconciler(
        store, host, SPEC, who="a test", log_hint="/logs/x", jitter=lambda: 0.5, clock=lambda: NOW
    )


def text_of(turn) -> str:
    return "\n".join(message.text for message in turn.messages)


def test_the_first_turn_deploys_and_starts(store, host, reconciler):
    turn = reconciler.turn()
    found = read_desired(store, "bikes")
    assert (found.state, found.spec_revision, found.who, found.config["late_by"]) == (
        "running",
        1,
        "a test",
        "2h",
    )
    assert host.orders == ["start"]
    assert load_history(store, "bikes").history.last_start.attempt == 1
    assert "deployed for the first time" in text_of(turn)


def test_the_second_turn_leaves_the_start_alone(store, host, reconciler):
    reconciler.turn()
    host.process = process(ProcessState.RUNNING, for_seconds=3)
    turn = reconciler.turn()
    assert host.orders == ["start"]
    assert turn.action.kind == "wait"
    assert turn.quiet_for > timedelta(seconds=60)


def test_a_driver_at_work_is_not_touched(store, host, reconciler):
    host.process = process(ProcessState.RUNNING)
    store.put("control/bikes/desired.json", desired().to_body())
    write_status(store, status().status)
    turn = reconciler.turn()
    assert (host.orders, turn.action.kind, turn.health.state) == ([], "leave", "idle")


def test_somebody_elses_stop_is_respected(store, host, reconciler):
    store.put("control/bikes/desired.json", desired("stopped", spec_revision=7).to_body())
    turn = reconciler.turn()
    assert (host.orders, turn.view.desired.spec_revision) == ([], 7)
    assert turn.health.healthy


def test_a_driver_that_does_not_heed_the_stop_is_stopped(store, host, reconciler):
    host.process = process(ProcessState.RUNNING)
    store.now = ago(61)
    store.put("control/bikes/desired.json", desired("stopped").to_body())
    store.now = NOW
    write_status(store, status().status)
    reconciler.turn()
    assert host.orders == ["stop within 60 s"]
    host.process = process(ProcessState.STOPPED)
    store.now = NOW + timedelta(minutes=5)
    turn = reconciler.turn()
    assert (turn.health.state, turn.health.healthy) == ("stopped", True), "it was killed, as somebody wanted"
    assert load_history(store, "bikes").history.last_health.healthy


def test_the_start_is_written_down_before_it_is_ordered(store, host, reconciler):
    host.refuses = LauncherError("no such program")
    turn = reconciler.turn()
    assert load_history(store, "bikes").history.last_start.attempt == 1
    assert "no such program" in text_of(turn)
    assert turn.messages[-1].level == logging.ERROR
    assert reconciler.turn().action.kind == "wait", "and so the next turn backs off"


def test_when_the_history_cannot_be_written_nothing_is_ordered(store, host, reconciler):
    def unavailable(key, body, **conditions):
        if key.endswith("history.json"):
            raise StoreUnavailable("away")
        return MemoryStore.put(store, key, body, **conditions)

    store.put = unavailable
    with pytest.raises(StoreUnavailable):
        reconciler.turn()
    assert host.orders == []


def test_of_two_supervisors_only_one_starts(store, host, reconciler):
    def beaten(key, body, **conditions):
        if key.endswith("history.json"):
            raise PreconditionFailed(key)
        return MemoryStore.put(store, key, body, **conditions)

    store.put = beaten
    turn = reconciler.turn()
    assert host.orders == []
    assert "another task" in text_of(turn)


def test_a_race_for_the_first_deployment_is_lost_quietly(store, host, reconciler):
    original, raced = store.put, []

    def raced_put(key, body, **conditions):
        if key.endswith("desired.json") and not raced:
            raced.append(key)
            original(key, desired("stopped", who="bob").to_body())
        return original(key, body, **conditions)

    store.put = raced_put
    turn = reconciler.turn()
    assert turn.view.desired.who == "bob"
    assert host.orders == []


def test_a_host_that_is_away_is_said_and_waited_for(store, host, reconciler):
    host.problem = HostUnavailable("the stream host does not answer")
    turn = reconciler.turn()
    assert (host.orders, turn.action.kind) == ([], "wait")
    assert "the stream host does not answer" in text_of(turn)
    assert "the stream host does not answer" in load_history(store, "bikes").history.last_health.reason


def test_a_catalog_that_differs_from_what_runs_is_noted_by_key(store, host, reconciler):
    reconciler.turn()
    host.process = process(ProcessState.RUNNING)
    write_status(store, status(epoch=1).status)
    changed = SPEC.model_copy(update={"late_by": timedelta(hours=3)})
    turn = replace(reconciler, spec=changed).turn()
    assert "late_by: '2h' is deployed, the catalog says '3h'" in text_of(turn)
    assert read_desired(store, "bikes").config["late_by"] == "2h"
    assert host.orders == ["start"]


def test_a_key_that_was_added_with_its_default_is_no_difference():
    deployed = SPEC.model_dump(mode="json")
    del deployed["idle_after"]
    assert differences(deployed, SPEC.model_dump(mode="json")) == []


def test_a_crash_loop_is_retried_ever_more_rarely(store, host, reconciler):
    now = [NOW]
    slow = replace(reconciler, clock=lambda: now[0], jitter=lambda: 1.0)
    host.process = process(ProcessState.EXITED, exit_code=13)
    starts = []
    for _ in range(3600):
        before = len(host.orders)
        slow.turn()
        if len(host.orders) > before:
            starts.append((now[0] - NOW).total_seconds())
        now[0] += timedelta(seconds=1)
        store.now = now[0]
    gaps = [later - earlier for earlier, later in pairwise(starts)]
    assert gaps == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 900, 900]
    assert load_history(store, "bikes").history.circuit.failures == 12


def test_a_restart_by_the_host_is_told_with_the_last_words_of_the_driver_before(store, host, reconciler):
    reconciler.turn()
    host.process = process(ProcessState.RUNNING)
    write_status(store, status("failed", epoch=1, error="boom").status)
    write_status(store, status("starting", epoch=2, started_at=ago(5)).status)
    assert "started it again after driver epoch 1 had ended: boom. What it printed: /logs/x" in text_of(
        reconciler.turn()
    )
    write_status(store, status("running", epoch=1).status)
    assert "it said nothing: it was killed" in text_of(reconciler.turn())


def test_the_etag_of_what_was_read_guards_what_is_written(store, reconciler):
    reconciler.turn()
    stored = load_desired(store, "bikes")
    write_desired(store, "bikes", desired("stopped", spec_revision=2), replacing=stored.etag)
    history = load_history(store, "bikes")
    write_history(store, "bikes", history.history, replacing=history.etag)
    assert reconciler.turn().view.desired.spec_revision == 2
