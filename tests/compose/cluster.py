"""A Spark cluster in containers, from outside: where executors are, and a moment at which a micro-batch is at work."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.compose.ground import run
from tests.compose.stack import Container, Stack, StackFailed
from tests.conftest import wait_until
from tests.families import family

EXECUTOR = "CoarseGrainedExecutorBackend"


@dataclass(frozen=True)
class Executor:
    """A process of an executor. `application`: the name under which its driver is known to the master."""

    pid: int
    worker: Container
    application: str


def applications(ui: str) -> dict[str, str]:
    """Id to stream of the applications that run, as the master's own page says."""
    return {one["id"]: one["name"].removeprefix("millrace-") for one in _asked(ui)["activeapps"]}


def alive_workers(ui: str) -> int:
    return sum(one["state"] == "ALIVE" for one in _asked(ui)["workers"])


def executors(stack: Stack, ui: str) -> list[Executor]:
    """Every executor, by the processes of the workers' containers."""
    names = applications(ui)
    found = []
    for worker in (one for one in stack.containers() if one.service == "spark-worker" and one.running):
        for process in family(worker.pid):
            with suppress(psutil.Error):
                words = process.cmdline()
                if any(word.endswith(EXECUTOR) for word in words) and "--app-id" in words:
                    application = words[words.index("--app-id") + 1]
                    found.append(Executor(process.pid, worker, names.get(application, application)))
    return found


class Batches:
    """The micro-batches of a stream, by Spark's own logs in the volume of the stream host."""

    def __init__(self, spark: Path) -> None:
        self._spark = spark
        if not (spark / "commits").is_dir():
            raise StackFailed(f"{spark} is no checkpoint with commits")

    @classmethod
    def of(cls, volume: str, stream: str) -> Batches:
        told = json.loads(run(["docker", "volume", "inspect", volume]).stdout)
        return cls(Path(told[0]["Mountpoint"]) / "streams" / stream / "checkpoint" / "spark")

    def at_work(self) -> int | None:
        """The batch that is begun and not committed; None between two."""
        begun, ended = self._newest("offsets"), self._newest("commits")
        return begun if begun > ended else None

    def is_committed(self, batch: int) -> bool:
        return (self._spark / "commits" / str(batch)).exists()

    def wait_at_work(self, within: float) -> int:
        """The number of the next batch, which has begun just now."""
        last, found = self._newest("offsets"), []

        def begins() -> bool:
            batch = self.at_work()
            if batch is not None and batch > last:
                found.append(batch)
            return bool(found)

        # A batch takes some tenths of a second.
        wait_until(begins, within, f"a micro-batch to begin in {self._spark}", every=0.005)
        return found[0]

    def _newest(self, log: str) -> int:
        names = [path.name for path in (self._spark / log).iterdir() if path.name.isdigit()]
        return max(map(int, names), default=-1)


def kill_mid_batch(batches: Batches, pid: int, *, within: float) -> int:
    """SIGKILL to a process while a micro-batch is at work; the batch, which was not committed right after it.

    One that was is no proof, and the process is gone: StackFailed is raised.
    """
    batch = batches.wait_at_work(within)
    os.kill(pid, signal.SIGKILL)
    if batches.is_committed(batch):
        raise StackFailed(f"batch {batch} was committed before process {pid} was killed")
    return batch


def _asked(ui: str) -> Mapping[str, Any]:
    answer = httpx.get(f"{ui}/json/", timeout=10, trust_env=False)
    answer.raise_for_status()
    return dict(answer.json())
