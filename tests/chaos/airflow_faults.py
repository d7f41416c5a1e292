"""Faults of Airflow. The streams go on without it, and after it is back it must look after them again."""

from __future__ import annotations

import time
from datetime import timedelta

from tests.chaos.airflow import Airflow
from tests.chaos.faults import Scene, fault, lasting
from tests.chaos.lane import Lane, NotAsItShouldBe, kill_group


def _airflow(scene: Scene) -> Airflow:
    assert scene.stage.airflow is not None
    return scene.stage.airflow


def _goes_on(lane: Lane, pid: int) -> None:
    """The driver is the same one, and commits. Raises NotAsItShouldBe."""
    lane.next_commit(time.monotonic(), within=30)
    if lane.pid() != pid:
        raise NotAsItShouldBe(f"{lane.name}: its driver was replaced, though only Airflow was killed")


def _is_supervised_again(lane: Lane) -> float:
    """End the driver in the one way that the stream host leaves to Airflow; the moment of its end."""
    lane.host.stop(lane.name, timedelta(seconds=30))
    return time.monotonic()


@fault(
    "Airflow killed whole",
    "SIGKILL to all of Airflow; the drivers go on. It is started again, and starts a driver that was stopped",
    "airflow",
    weight=3,
)
def airflow_killed(scene: Scene) -> float:
    airflow, pid = _airflow(scene), scene.lane.pid()
    airflow.kill(*airflow.parts)
    _goes_on(scene.lane, pid)
    airflow.restart(*airflow.parts)
    _goes_on(scene.lane, pid)
    return _is_supervised_again(scene.lane)


@fault(
    "triggerer killed",
    "SIGKILL to Airflow's triggerer alone; it is started again, and a driver that was stopped is started",
    "airflow",
    weight=3,
)
def triggerer_killed(scene: Scene) -> float:
    airflow, pid = _airflow(scene), scene.lane.pid()
    airflow.kill("triggerer")
    with lasting(scene.dice.uniform(0, 5)):
        pass
    airflow.restart("triggerer")
    _goes_on(scene.lane, pid)
    return _is_supervised_again(scene.lane)


@fault(
    "driver killed while Airflow is away",
    "SIGKILL to all of Airflow, then to a driver: it comes back without Airflow",
    "airflow",
    weight=3,
)
def driver_killed_without_airflow(scene: Scene) -> float:
    airflow, pid = _airflow(scene), scene.lane.pid()
    airflow.kill(*airflow.parts)
    kill_group(pid)
    died = time.monotonic()
    scene.lane.next_commit(died)
    scene.lane.wait_steady()
    airflow.restart(*airflow.parts)
    return died


@fault(
    "stream host killed under Airflow",
    "SIGKILL to supervisord, started again: Airflow starts successors that fence the drivers it lost",
    "airflow",
    weight=1,
)
def host_killed_under_airflow(scene: Scene) -> float:
    scene.stage.host.kill()
    with lasting(scene.dice.uniform(0, 5)):
        pass
    scene.stage.host.start()
    return time.monotonic()
