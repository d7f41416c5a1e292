"""Two drivers of one stream at once, in the three ways in which that happens, one after the other.

Each time the older driver has to end by itself, with its own exit code and a clear last word; and in the end every
micro-batch was committed exactly once and every published row is the oracle's.
"""

from __future__ import annotations

import signal
import subprocess
import time
from contextlib import ExitStack
from random import Random

import pytest

from millrace.control import exit_codes
from tests.chaos.driver_faults import STATE, put_of
from tests.chaos.faults import Scene
from tests.chaos.lane import Lane
from tests.chaos.proxy import Trap, Trouble
from tests.chaos.stage import Stage
from tests.conftest import wait_until
from tests.families import family, signal_all

pytestmark = pytest.mark.stack

Driver = subprocess.Popen[bytes]


def is_running(lane: Lane, process: Driver) -> bool:
    """Whether the newest driver of the stream is this one, and it works."""
    status = lane.status()
    return status is not None and (status.pid, status.state) == (process.pid, "running")


def gave_way(lane: Lane, process: Driver, name: str) -> None:
    """It has ended by itself as a fenced driver does."""
    assert process.wait(60) == exit_codes.FENCED, lane.hand_log(name).read_text()[-3000:]
    last = lane.hand_log(name).read_text().splitlines()[-1]
    assert last.endswith(f"(exit {exit_codes.FENCED})"), last
    assert "driver epoch" in last, last
    assert "has taken over" in last, last


def test_of_two_drivers_one_gives_way_and_every_batch_is_committed_once() -> None:
    with (
        Stage(("order_metrics",), seed=3, hour_lasts=12.0, supervised=False) as stage,
        ExitStack() as drivers,
    ):
        (lane,) = stage.lanes

        def start(door: str, name: str) -> Driver:
            return drivers.enter_context(lane.driver_by_hand(door, name))

        # Started in the same instant.
        twins = {"first": start("other", "first"), "twin": start("other", "twin")}
        wait_until(lambda: any(is_running(lane, one) for one in twins.values()), 120, "one of two to run")
        winner = next(name for name, one in twins.items() if is_running(lane, one))
        loser = next(name for name in twins if name != winner)
        gave_way(lane, twins[loser], loser)
        lane.next_commit(time.monotonic())

        # Stopped between its check and its commit, while its successor runs; then it goes on.
        paused, members = twins[winner], family(twins[winner].pid)
        scene = Scene(stage, lane, Random(3), door="other")
        trap = Trap(put_of(scene, STATE), "after", lambda: signal_all(members, signal.SIGSTOP), drop=False)
        with stage.proxy.trap(trap):
            assert trap.sprung.wait(30)
        successor = start("drivers", "successor")
        wait_until(lambda: is_running(lane, successor), 120, "the successor to run")
        lane.is_well_on()
        signal_all(members, signal.SIGCONT)
        gave_way(lane, paused, winner)
        lane.next_commit(time.monotonic())

        # Cut off from the store, while its successor runs; then everything it had sent arrives.
        held = Trouble("hold", where=lambda request: request.door == "drivers")
        with stage.proxy.trouble(held):
            last = start("other", "last")
            wait_until(lambda: is_running(lane, last), 120, "the last one to run")
            lane.is_well_on()
        assert held.hits > 0
        gave_way(lane, successor, "successor")

        lane.next_commit(time.monotonic())
        lane.check(thorough=True)
        assert lane.rows_checked() > 50
        last.terminate()
        assert last.wait(60) == exit_codes.STOPPED
