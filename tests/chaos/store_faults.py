"""Faults of the way to the object store, as one stream's driver meets them, or everybody for a minute."""

from __future__ import annotations

import time

from tests.chaos.faults import Scene, fault, lasting
from tests.chaos.proxy import Trouble

A_MINUTE = 60.0


def _for_a_while(scene: Scene, *troubles: Trouble) -> float:
    for trouble in troubles:
        trouble.where = scene.lane.owns
    with scene.stage.proxy.trouble(*troubles), lasting(scene.some_seconds(4)):
        pass
    return time.monotonic()


@fault("S3 answers 500", "every request of one driver is answered 500 for some seconds")
def s3_500(scene: Scene) -> float:
    return _for_a_while(scene, Trouble("status", status=500))


@fault("S3 answers 503", "every request of one driver is answered 503 for some seconds")
def s3_503(scene: Scene) -> float:
    return _for_a_while(scene, Trouble("status", status=503))


@fault("S3 is slow", "every request of one driver takes up to two seconds longer for some seconds")
def s3_slow(scene: Scene) -> float:
    return _for_a_while(scene, Trouble("slow", seconds=scene.dice.uniform(0.3, 2)))


@fault("S3 resets connections", "some requests of one driver are cut off, half of them after they were done")
def s3_resets(scene: Scene) -> float:
    return _for_a_while(scene, Trouble("reset", share=0.4), Trouble("reset_after", share=0.4))


@fault("S3 hangs", "no request of one driver is answered for some seconds; then all are, late")
def s3_hangs(scene: Scene) -> float:
    return _for_a_while(scene, Trouble("hold"))


def _for_everybody(scene: Scene, *troubles: Trouble) -> float:
    with scene.stage.proxy.trouble(*troubles), lasting(min(A_MINUTE, scene.patience * 3)):
        pass
    return time.monotonic()


@fault(
    "S3 answers 500 for a minute", "everybody's requests, publishing's and supervision's too", "all", weight=1
)
def s3_500_for_a_minute(scene: Scene) -> float:
    return _for_everybody(scene, Trouble("status", status=500))


@fault("S3 answers 503 for a minute", "half of everybody's requests", "all", weight=1)
def s3_503_for_a_minute(scene: Scene) -> float:
    return _for_everybody(scene, Trouble("status", status=503, share=0.5))


@fault("S3 is slow for a minute", "everybody's requests take a second longer", "all", weight=1)
def s3_slow_for_a_minute(scene: Scene) -> float:
    return _for_everybody(scene, Trouble("slow", seconds=1.0))


@fault(
    "S3 resets connections for a minute",
    "a fifth before, a fifth after the request was done",
    "all",
    weight=1,
)
def s3_resets_for_a_minute(scene: Scene) -> float:
    return _for_everybody(scene, Trouble("reset", share=0.2), Trouble("reset_after", share=0.2))
