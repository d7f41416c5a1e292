"""Faults of one driver: killed, at any moment and between any two of its steps; paused; half of it gone."""

from __future__ import annotations

import re
import signal
import time
from contextlib import suppress

import psutil

from tests.chaos.faults import Scene, fault, lasting
from tests.chaos.lane import NotAsItShouldBe, kill_group
from tests.chaos.proxy import Request, Trap, Where
from tests.families import ask, signal_all

ENDS_WITHIN = 150.0
"""A driver that hangs is ended by supervision, after some 40 s of silence; one that does not even do that, never."""
STEP_WITHIN = 90.0
"""Every step of a micro-batch comes with the next one; a seal only with the end of an hour."""


def put_of(scene: Scene, pattern: str) -> Where:
    """Requests of the stream's driver that write an object with such a name."""
    name = re.compile(pattern)

    def fits(request: Request) -> bool:
        return (
            request.method == "PUT"
            and scene.lane.owns(request, scene.door)
            and name.search(request.key) is not None
        )

    return fits


FACTS = r"/landing/.*\.parquet$"
STATE = r"/state/.*/pack-"
COMMIT = r"/state/.*/manifest-"
SEAL = r"/landing/.*-seal$"


def _kill_somehow(scene: Scene, pid: int) -> float:
    """Of its Python and its JVM both, the Python alone, or with the Python workers as well."""
    victims = scene.dice.choice(["group", "group", "python", "family"])
    if victims == "family":
        with suppress(psutil.NoSuchProcess):
            signal_all(psutil.Process(pid).children(recursive=True), signal.SIGKILL)
    if victims == "python":
        with suppress(psutil.NoSuchProcess):
            psutil.Process(pid).kill()
    else:
        kill_group(pid)
    return time.monotonic()


@fault("driver killed", "SIGKILL to the driver at a random moment", weight=8)
def driver_killed(scene: Scene) -> float:
    pid = scene.lane.pid()
    time.sleep(scene.dice.uniform(0, 2))
    return _kill_somehow(scene, pid)


def _killed_at(scene: Scene, pattern: str, when: str) -> float:
    pid = scene.lane.pid()
    died: list[float] = []

    def kill() -> None:
        kill_group(pid)
        died.append(time.monotonic())

    trap = Trap(put_of(scene, pattern), "before" if when == "before" else "after", kill)
    with scene.stage.proxy.trap(trap):
        if not trap.sprung.wait(STEP_WITHIN):
            raise NotAsItShouldBe(f"{scene.lane.name}: nothing was written that fits {pattern}")
    return died[0]


@fault("killed before its facts", "SIGKILL when the first facts of a micro-batch are about to be written")
def killed_before_facts(scene: Scene) -> float:
    return _killed_at(scene, FACTS, "before")


@fault("killed after its facts", "SIGKILL when facts of a micro-batch have been written", weight=4)
def killed_after_facts(scene: Scene) -> float:
    return _killed_at(scene, FACTS, "after")


@fault("killed after the state", "SIGKILL when a micro-batch's state has been written", weight=4)
def killed_after_state(scene: Scene) -> float:
    return _killed_at(scene, STATE, "after")


@fault(
    "killed after a seal",
    "SIGKILL when an hour has been sealed, before the batch that sealed it is committed",
)
def killed_after_seal(scene: Scene) -> float:
    return _killed_at(scene, SEAL, "after")


@fault("killed before the commit", "SIGKILL after the last write of a micro-batch but its commit", weight=4)
def killed_before_commit(scene: Scene) -> float:
    return _killed_at(scene, COMMIT, "before")


@fault(
    "killed after the commit",
    "SIGKILL when the store has the commit and the driver does not know it",
    weight=4,
)
def killed_after_commit(scene: Scene) -> float:
    return _killed_at(scene, COMMIT, "after")


@fault("driver paused", "SIGSTOP to all of a driver for some seconds, then SIGCONT", weight=4)
def driver_paused(scene: Scene) -> float:
    members = scene.lane.family()
    signal_all(members, signal.SIGSTOP)
    with lasting(scene.some_seconds(1)):
        pass
    signal_all(members, signal.SIGCONT)
    return time.monotonic()


@fault(
    "driver paused for good",
    "SIGSTOP to all of a driver; supervision finds it silent and replaces it",
    weight=1,
)
def driver_paused_for_good(scene: Scene) -> float:
    pid = scene.lane.pid()
    members = scene.lane.family()
    signal_all(members, signal.SIGSTOP)
    began = time.monotonic()
    # A replacement kills the group; only what the group does not hold would wait for ever.
    gone, _ = psutil.wait_procs([one for one in members if one.pid == pid], timeout=180)
    signal_all(members, signal.SIGCONT)
    if not gone:
        raise NotAsItShouldBe(f"{scene.lane.name}: a driver that hangs was not replaced\n{scene.lane.told()}")
    return began


@fault("JVM killed", "SIGKILL to the driver's JVM alone, as the kernel does when memory runs out", weight=4)
def jvm_killed(scene: Scene) -> float:
    jvm = scene.lane.jvm()
    time.sleep(scene.dice.uniform(0, 1))
    jvm.kill()
    return time.monotonic()


@fault("JVM out of memory", "the driver's JVM is filled until it has no heap left")
def jvm_out_of_memory(scene: Scene) -> float:
    driver = psutil.Process(scene.lane.pid())
    order = scene.lane.orders_file()
    order.write_text("memory")
    try:
        _, alive = psutil.wait_procs([driver], timeout=ENDS_WITHIN)
    finally:
        order.unlink(missing_ok=True)
    if alive:
        raise NotAsItShouldBe(f"{scene.lane.name}: a driver without heap goes on\n{scene.lane.told()}")
    return time.monotonic()


@fault("Python worker killed", "SIGKILL to the Python worker that runs a driver's tasks", weight=3)
def python_worker_killed(scene: Scene) -> float:
    # The JVM starts a daemon, which forks the workers and is itself one of its Python processes.
    children = ask(scene.lane.jvm().children(), psutil.Process.name)
    daemons = [child for child, name in children if name.startswith("python")]
    workers = [worker for daemon in daemons for worker in daemon.children()]
    scene.dice.choice(workers).kill()
    return time.monotonic()


@fault("driver's clock steps", "the wall clock of a driver jumps by ten minutes, and back some seconds later")
def drivers_clock_steps(scene: Scene) -> float:
    order = scene.lane.orders_file()
    order.write_text(f"clock {scene.dice.choice([-600, 600])}")
    with lasting(scene.some_seconds(3)):
        pass
    order.unlink()
    return time.monotonic()


@fault("records from tomorrow", "the feed's clock is a day off: its records carry wrong times of creation")
def records_from_tomorrow(scene: Scene) -> float:
    scene.lane.feeder.jump(scene.dice.choice([-86_400, 86_400]))
    with lasting(scene.some_seconds(2) / 2):
        pass
    scene.lane.feeder.jump(0)
    return time.monotonic()
