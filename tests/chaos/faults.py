"""What can go wrong, by name: a registry from which the runner draws.

A fault of scope `stream` breaks one stream's driver and leaves the others alone; one of scope `all` breaks what
they share; one of scope `airflow` needs a real Airflow as supervision. Each returns when it is over, with the moment
(`time.monotonic`) from which the seconds to the next committed micro-batch count: for a kill the kill, for a fault
that lasts its end.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from tests.chaos.lane import Lane
from tests.chaos.stage import Stage

Scope = Literal["stream", "all", "airflow"]


@dataclass(frozen=True)
class Scene:
    """Where a fault happens. `lane` is its stream; of a fault for all, the first one.

    `patience`: the longest that a fault should last which may last any time, in seconds.
    """

    stage: Stage
    lane: Lane
    dice: random.Random
    patience: float = 20.0
    door: str = "drivers"
    """By which the stream's driver gets to the store."""

    def some_seconds(self, least: float = 2.0) -> float:
        return self.dice.uniform(least, max(least, self.patience))


@dataclass(frozen=True)
class Fault:
    """`weight`: how often it is drawn, beside the others of its scope."""

    name: str
    description: str
    scope: Scope
    weight: int
    inject: Callable[[Scene], float]


FAULTS: dict[str, Fault] = {}


def fault(
    name: str, description: str, scope: Scope = "stream", weight: int = 2
) -> Callable[[Callable[[Scene], float]], Callable[[Scene], float]]:
    """Enter a function into the registry."""

    def enter(inject: Callable[[Scene], float]) -> Callable[[Scene], float]:
        FAULTS[name] = Fault(name, description, scope, weight, inject)
        return inject

    return enter


@contextmanager
def lasting(seconds: float) -> Iterator[None]:
    """A block that ends after so many seconds."""
    ends = time.monotonic() + seconds
    yield
    time.sleep(max(0.0, ends - time.monotonic()))


def load_all() -> dict[str, Fault]:
    """The whole registry."""
    from tests.chaos import (  # noqa: F401
        airflow_faults,
        driver_faults,
        fencing_faults,
        shared_faults,
        store_faults,
    )

    return FAULTS
