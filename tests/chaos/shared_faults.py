"""Faults of what all streams share: Kafka, the S3 server, the stream host, the disk, supervision's clock."""

from __future__ import annotations

import time
from datetime import timedelta

import psutil

from tests.chaos.faults import Scene, fault, lasting
from tests.chaos.lane import kill_group
from tests.chaos.parts import Part


def _killed_and_restarted(scene: Scene, part: Part) -> float:
    part.kill()
    with lasting(scene.dice.uniform(0, scene.patience / 3)):
        pass
    part.start()
    return time.monotonic()


@fault("Kafka killed", "SIGKILL to the broker, started again some seconds later", "all", weight=5)
def kafka_killed(scene: Scene) -> float:
    return _killed_and_restarted(scene, scene.stage.kafka)


@fault("S3 server killed", "SIGKILL to the S3 server, started again some seconds later", "all", weight=5)
def s3_killed(scene: Scene) -> float:
    return _killed_and_restarted(scene, scene.stage.s3)


@fault(
    "stream host killed",
    "SIGKILL to supervisord, started again: the drivers go on without it until their successors fence them",
    "all",
    weight=4,
)
def stream_host_killed(scene: Scene) -> float:
    return _killed_and_restarted(scene, scene.stage.host)


@fault("disk full", "no byte more fits where the checkpoints are, for some seconds", "all", weight=4)
def disk_full(scene: Scene) -> float:
    def writers() -> list[psutil.Process]:
        return psutil.Process(scene.stage.host.pid).children(recursive=True)

    ends = time.monotonic() + scene.some_seconds(5)
    while time.monotonic() < ends:
        scene.stage.disk.fill(writers())
        time.sleep(0.2)
    scene.stage.disk.free(writers())
    return time.monotonic()


@fault(
    "supervision's clock steps",
    "the wall clock of supervision is hours off, the drivers are killed, and it is set right again",
    "all",
    weight=2,
)
def supervisions_clock_steps(scene: Scene) -> float:
    off = timedelta(hours=scene.dice.choice([-3, -1, 2, 26]))
    for lane in scene.stage.lanes:
        lane.clock_error = off
    with lasting(3):
        pass
    for lane in scene.stage.lanes:
        kill_group(lane.pid())
    died = time.monotonic()
    with lasting(scene.some_seconds(3)):
        pass
    for lane in scene.stage.lanes:
        lane.clock_error = timedelta(0)
    return died
