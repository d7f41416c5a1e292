"""Which records of a batch a transform fails on, found by halving, in a process of its own that may die of them.

The transform is tried from the state before the batch over the records known to be good and half of those that are
left, and so on: a record is to blame only if the transform fails with it and not without it. A trial that raises
and one that kills its process count alike. Nothing is written; the parent sees words or a death.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import polars as pl

from millrace.catalog import DatasetSpec
from spark_apps.runtime.keyed_fold import KeyedFold, prepared

MOST_TRIALS = 256
"""A record is found in about 2 log2(n) trials. When so many were not enough, it is the transform that is broken
rather than a few records, and what has not been tried is put aside with them."""
TRIAL_WITHIN = 120.0
"""Seconds. One that hangs must not hang the driver."""
UNTRIED = "not tried by itself: too many records of this micro-batch fail"

Try = Callable[[Sequence[int]], str | None]
"""Rows to why the transform fails on them, None when it does not."""


@dataclass
class Search:
    """The rows of a batch that are good, and the others with why they are not."""

    attempt: Try
    good: list[int] = field(default_factory=list)
    failing: dict[int, str] = field(default_factory=dict)
    trials: int = 0

    def over(self, rows: Sequence[int], known: str | None = None) -> None:
        """`known`: why the good rows and these fail together, when that is known already."""
        if not rows:
            return
        if known is None:
            if self.trials >= MOST_TRIALS:
                self.failing |= dict.fromkeys(rows, UNTRIED)
                return
            self.trials += 1
            known = self.attempt([*self.good, *rows])
            if known is None:
                self.good += rows
                return
        if len(rows) == 1:
            self.failing[rows[0]] = known
            return
        left, right = rows[: len(rows) // 2], rows[len(rows) // 2 :]
        before = len(self.failing)
        self.over(left)
        self.over(right, known if len(self.failing) == before else None)


def failing_rows(
    fold: KeyedFold, state: bytes | None, records: pl.DataFrame, dataset: DatasetSpec | None
) -> dict[int, str]:
    """Row to why the transform fails on it. `state`: the pack before the batch, None: from nothing."""
    with Trials(fold, state, records, dataset) as trials:
        search = Search(trials.attempt)
        search.over(range(records.height))
    return search.failing


class Trials:
    """Tries rows of a batch in a process that is started again when it has died. Use it as a context."""

    def __init__(
        self, fold: KeyedFold, state: bytes | None, records: pl.DataFrame, dataset: DatasetSpec | None
    ) -> None:
        from pyspark import cloudpickle  # as Spark sends a transform: also one of the module that is run

        self._setup: bytes = cloudpickle.dumps((fold, state, records, dataset))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Trials:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def attempt(self, rows: Sequence[int]) -> str | None:
        process = self._process or self._begin()
        assert process.stdin is not None
        assert process.stdout is not None
        timer = threading.Timer(TRIAL_WITHIN, process.kill)
        timer.start()
        try:
            process.stdin.write(json.dumps(list(rows)).encode() + b"\n")
            process.stdin.flush()
            answer = process.stdout.readline()
        except OSError:
            answer = b""
        finally:
            hung = not timer.is_alive()
            timer.cancel()
        if answer:
            words: str | None = json.loads(answer)
            return words
        code = self._end()
        if hung:
            return f"the transform took longer than {TRIAL_WITHIN:.0f} s"
        return f"its process died ({f'killed by signal {-code}' if code < 0 else f'exit code {code}'})"

    def _begin(self) -> subprocess.Popen[bytes]:
        path = os.pathsep.join(entry for entry in sys.path if entry)
        process = subprocess.Popen(
            [sys.executable, "-m", "spark_apps.runtime.trial"],
            env=os.environ | {"PYTHONPATH": path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert process.stdin is not None
        # One that dies here is noticed by the first trial.
        with contextlib.suppress(OSError):
            process.stdin.write(self._setup)
            process.stdin.flush()
        self._process = process
        return process

    def _end(self) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        with contextlib.suppress(OSError, ValueError, subprocess.TimeoutExpired):
            process.communicate(timeout=5)
        process.kill()
        return process.wait()


def serve() -> None:
    """The other side: a transform and its input from standard input, then a line of rows per trial."""
    from millrace.publish.landing import landing_objects
    from millrace.publish.version import Version

    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a transform prints is no answer
    fold: Any
    fold, body, records, dataset = pickle.load(sys.stdin.buffer)  # noqa: S301 - from the parent alone
    state = fold.empty() if body is None else fold.unpack(body)
    for line in sys.stdin.buffer:
        words = None
        try:
            done = fold.fold(state, prepared(fold, records[json.loads(line)]))
            fold.pack(done.state)
            if dataset is not None and done.facts.height:
                landing_objects(dataset, done.facts, Version(0, 0, 0), 0)
        except Exception as error:
            words = f"{type(error).__name__}: {error}"[:1000]
        answers.write(json.dumps(words).encode() + b"\n")
        answers.flush()


if __name__ == "__main__":
    serve()
