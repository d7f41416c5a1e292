"""Two drivers of one stream at once. The older must end by itself, say why, and have done no harm."""

from __future__ import annotations

import signal
import subprocess
import time

import psutil

from millrace.control import exit_codes
from millrace.control.process import ProcessState
from tests.chaos.driver_faults import STATE, STEP_WITHIN, put_of
from tests.chaos.faults import Scene, fault
from tests.chaos.lane import RECOVERS_WITHIN, Lane, NotAsItShouldBe
from tests.chaos.proxy import Trap, Trouble
from tests.families import signal_all

ENDS_WITHIN = 90.0


def wait_for_driver(lane: Lane, process: subprocess.Popen[bytes]) -> None:
    """Until a driver started by hand runs, as its status says. Raises NotAsItShouldBe."""
    deadline = time.monotonic() + RECOVERS_WITHIN
    while (status := lane.status()) is None or (status.pid, status.state) != (process.pid, "running"):
        if process.poll() is not None or time.monotonic() > deadline:
            said = lane.hand_log("second").read_text(errors="replace")[-3000:]
            raise NotAsItShouldBe(
                f"{lane.name}: the second driver does not run ({process.returncode})\n{said}"
            )
        time.sleep(0.1)


def fenced(lane: Lane, pid: int) -> None:
    """The driver under the stream host must have ended as a fenced one does. Raises NotAsItShouldBe."""
    deadline = time.monotonic() + ENDS_WITHIN
    while psutil.pid_exists(pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    info = lane.host.state(lane.name)
    if (info.state, info.exit_code) != (ProcessState.EXITED, exit_codes.FENCED):
        raise NotAsItShouldBe(f"{lane.name}: the older driver was not fenced: {info}\n{lane.told()}")
    last = [line for line in lane.log().splitlines() if "ERROR" in line or "WARNING" in line][-1]
    if f"(exit {exit_codes.FENCED})" not in last:
        raise NotAsItShouldBe(f"{lane.name}: the older driver's last word is no clear one: {last}")


def end_in_order(lane: Lane, process: subprocess.Popen[bytes]) -> float:
    """The second driver gives way to the stream host's again; the moment from which recovery counts."""
    process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    code = process.wait(ENDS_WITHIN)
    if code not in (exit_codes.STOPPED, exit_codes.FENCED):
        raise NotAsItShouldBe(f"{lane.name}: the second driver ended with {code}\n{lane.told()}")
    return began


@fault("two drivers at once", "a second driver is started beside the first, on the same checkpoint", weight=1)
def two_drivers(scene: Scene) -> float:
    lane, pid = scene.lane, scene.lane.pid()
    with lane.unsupervised(), lane.driver_by_hand("other") as second:
        wait_for_driver(lane, second)
        fenced(lane, pid)
        lane.next_commit(time.monotonic())
        return end_in_order(lane, second)


@fault(
    "paused between check and write",
    "SIGSTOP between a driver's check and its commit; its successor runs and commits; then SIGCONT",
    weight=1,
)
def paused_between_check_and_write(scene: Scene) -> float:
    lane, pid = scene.lane, scene.lane.pid()
    members = lane.family()
    # A driver looks for the commit when a batch begins; what it writes after the state is the commit.
    trap = Trap(put_of(scene, STATE), "after", lambda: signal_all(members, signal.SIGSTOP), drop=False)
    with lane.unsupervised(), scene.stage.proxy.trap(trap):
        if not trap.sprung.wait(STEP_WITHIN):
            raise NotAsItShouldBe(f"{lane.name}: no state was written")
        with lane.driver_by_hand("other") as second:
            wait_for_driver(lane, second)
            lane.is_well_on()
            signal_all(members, signal.SIGCONT)
            fenced(lane, pid)
            lane.next_commit(time.monotonic())
            return end_in_order(lane, second)


@fault(
    "cut off from the store",
    "no request of a driver reaches the store while its successor runs and commits; then all of them do",
    weight=1,
)
def cut_off(scene: Scene) -> float:
    lane, pid = scene.lane, scene.lane.pid()
    with lane.unsupervised(), lane.driver_by_hand("other") as second:
        with scene.stage.proxy.trouble(Trouble("hold", where=lane.owns)):
            wait_for_driver(lane, second)
            lane.is_well_on()
        fenced(lane, pid)
        lane.next_commit(time.monotonic())
        return end_in_order(lane, second)
