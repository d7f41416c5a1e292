from __future__ import annotations

from datetime import timedelta

import pytest

from millrace.control import exit_codes
from millrace.control.desired import read_desired
from millrace.control.follow import follow
from millrace.control.order import give_order
from millrace.control.orders import Outcome, put_outcome
from millrace.control.process import HostUnavailable, LauncherError, ProcessInfo, ProcessState
from millrace.control.reconcile import Reconciler
from millrace.control.status import write_status
from millrace.store import MemoryStore, StoreUnavailable
from tests.unit.control.samples import NOW, SPEC, desired, status


class Town:
    """A store, a host and a driver on one clock, which each sleep moves on by what was slept."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.store.now = NOW
        self.done: list[str] = []
        self.said: list[str] = []
        self.away = False
        self.ends_within = 3.0
        """Seconds that the driver takes to stop after it was asked."""
        self.begins_within = 15.0
        self.fails = False
        self.epoch, self.revision, self.state_of_driver = 3, 1, "running"
        self.asked_at = None
        self.started_at = None
        self.store.put("control/bikes/desired.json", desired().to_body())
        self.report()

    @property
    def pid(self):
        return 1000 + self.epoch

    def report(self, **changes):
        found = status(
            self.state_of_driver, epoch=self.epoch, spec_revision=self.revision, pid=self.pid, **changes
        )
        moved = {"heartbeat_at": self.store.now, "started_at": self.store.now - timedelta(seconds=60)}
        self.store.put(f"control/bikes/epochs/{self.epoch:08d}.json", b"{}")
        write_status(self.store, found.status.model_copy(update=moved))

    def sleep(self, seconds: float) -> None:
        self.store.now += timedelta(seconds=seconds)
        self.live()

    def live(self) -> None:
        """What the driver does by itself in the meantime."""
        wanted = read_desired(self.store, "bikes")
        if self.started_at is not None and self.since(self.started_at) >= self.begins_within:
            self.started_at, self.state_of_driver = None, "failed" if self.fails else "running"
            self.epoch, self.revision = self.epoch + 1, wanted.spec_revision
            if wanted.reset_revision:
                self.reset(wanted.reset_revision)
        if self.state_of_driver == "running" and wanted.state == "stopped":
            self.asked_at = self.asked_at or self.store.now
            if self.since(self.asked_at) >= self.ends_within:
                self.state_of_driver, self.asked_at = "stopped", None
        if self.started_at is None:
            failed = {"error": "no such topic", "exit_code": exit_codes.BAD_CONFIGURATION}
            self.report(**(failed if self.state_of_driver == "failed" else {}))

    outcome = "done"

    def reset(self, revision: int) -> None:
        put_outcome(self.store, "bikes", revision, Outcome(outcome=self.outcome, says="generation 2", at=NOW))

    def since(self, moment) -> float:
        return (self.store.now - moment).total_seconds()

    # The launcher's part.

    def state(self, stream: str) -> ProcessInfo:
        if self.away:
            raise HostUnavailable("the stream host does not answer")
        alive = self.state_of_driver == "running" or self.started_at is not None
        state = ProcessState.RUNNING if alive else ProcessState.EXITED
        pid = (self.pid + (self.started_at is not None)) if alive else None
        return ProcessInfo(stream, state, pid, self.started_at or NOW, self.store.now, None if alive else 0)

    def start(self, stream: str) -> None:
        self._did("start")
        self.started_at = self.store.now

    def stop(self, stream: str, within: timedelta) -> None:
        self._did("stop")
        self.state_of_driver = "stopped"
        self.report()

    def restart(self, stream: str, within: timedelta) -> None:
        self._did("restart")
        self.started_at = self.store.now

    def _did(self, what: str) -> None:
        self.done.append(what)

    def order(self, action: str, **changes):
        streams = {"bikes": SPEC.model_copy(update=changes)}
        given = give_order(
            self.store,
            streams,
            "bikes",
            action,
            who="bob",
            why="to see",
            check_reset=lambda spec: None,
            clock=lambda: self.store.now,
        )
        reconciler = Reconciler(
            self.store, self, streams["bikes"], who="bob", jitter=lambda: 0.5, clock=lambda: self.store.now
        )
        return follow(
            reconciler,
            given,
            lambda message: self.said.append(message.text),
            sleep=self.sleep,
            monotonic=lambda: self.since(NOW),
        )


@pytest.fixture
def town():
    return Town()


def test_a_stop_is_left_to_the_driver_and_seen_through(town):
    arrival = town.order("stop")
    assert (arrival.kind, town.done, town.since(NOW)) == ("reached", [], 4.0)


def test_a_driver_that_does_not_heed_the_stop_is_stopped_when_its_time_is_up(town):
    town.ends_within = 1000
    assert town.order("stop").kind == "reached"
    assert town.done == ["stop"]
    assert 60 <= town.since(NOW) <= 62


@pytest.mark.parametrize("action", ["restart", "redeploy"])
def test_a_restart_is_ordered_once_and_seen_through(town, action):
    arrival = town.order(action, trigger=timedelta(seconds=9))
    assert (arrival.kind, town.done, town.epoch, town.revision) == ("reached", ["restart"], 4, 2)
    assert read_desired(town.store, "bikes").config["trigger"] == ("9s" if action == "redeploy" else "5s")
    assert any(
        "because its driver of revision 1 is to be followed by one of revision 2" in line
        for line in town.said
    )


def test_a_stopped_stream_is_started(town):
    town.order("stop")
    arrival = town.order("start")
    assert (arrival.kind, town.done, arrival.says[:13]) == ("reached", ["start"], "bikes is idle")


def test_a_driver_that_ends_for_good_is_a_failure_with_its_reason(town):
    town.fails = True
    arrival = town.order("restart")
    assert arrival.kind == "failed"
    assert "no such topic" in arrival.says


def test_a_reset_says_how_it_ended(town):
    arrival = town.order("reset")
    assert (arrival.kind, arrival.says.split(";")[0]) == ("reached", "generation 2")


def test_a_reset_that_is_refused_where_it_would_begin_is_a_failure_though_the_stream_runs(town):
    town.outcome = "refused"
    arrival = town.order("reset")
    assert (arrival.kind, arrival.says) == (
        "failed",
        "bikes was not reset and goes on as it was: generation 2",
    )
    assert town.state_of_driver == "running"


def test_a_host_that_is_away_is_late_with_the_reason_and_the_order_stands(town):
    town.away = True
    arrival = town.order("restart")
    assert (arrival.kind, town.done) == ("late", [])
    assert any("the stream host does not answer" in line for line in town.said)
    assert read_desired(town.store, "bikes").spec_revision == 2
    assert len(town.said) < 10, "it is looked for now and then, and not each second"


def test_a_launcher_that_refuses_is_tried_again(town):
    def refuse(stream, within):
        town.done.append("refused")
        town.restart = original
        raise LauncherError("no such program")

    original, town.restart = town.restart, refuse
    assert town.order("restart").kind == "reached"
    assert town.done == ["refused", "restart"]


def test_another_order_in_the_meantime_ends_the_waiting(town):
    def sleep(seconds):
        other = desired("stopped", spec_revision=9, who="eve", why="no")
        town.store.put("control/bikes/desired.json", other.to_body())

    town.sleep = sleep
    arrival = town.order("restart")
    assert arrival.kind == "overtaken"
    assert "eve ordered it stopped: no" in arrival.says


def test_an_outage_of_the_store_is_waited_out(town):
    original, failures = town.store.list_objects, []

    def flaky(prefix, **more):
        if prefix.endswith("status/") and 0 < town.since(NOW) < 5:
            failures.append(prefix)
            raise StoreUnavailable("away")
        return original(prefix, **more)

    town.store.list_objects = flaky
    assert town.order("restart").kind == "reached"
    assert failures
