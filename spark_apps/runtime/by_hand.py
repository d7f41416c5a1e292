"""Running an app by hand: one small local Spark session, the fold in this process, its state in memory.

The same source and the same fold as in a driver; there is no checkpoint that outlives the run, no object store and no
second driver, so none of what guards them. Spark's own words go to a file, the results to the terminal.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import polars as pl

from millrace.catalog import StreamSpec
from millrace.settings import Settings
from millrace.signals import handled
from spark_apps.runtime.console_sink import Console
from spark_apps.runtime.errors import SourceClosed
from spark_apps.runtime.kafka_sink import KafkaMessages
from spark_apps.runtime.keyed_fold import RECORDS, Folded, KeyedFold
from spark_apps.runtime.records import ordered_records
from spark_apps.runtime.session import start_session
from spark_apps.runtime.sources import source_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.streaming import StreamingQuery

LOOK_EVERY = 0.1
"""Seconds between looks at the query and at Ctrl-C."""
FINISH_WITHIN = 30.0
"""Seconds that a micro-batch gets to end after Ctrl-C."""
ROWS_SHOWN = 10


@dataclass
class Done:
    """What a run has done so far."""

    batches: int = 0
    records: int = 0
    rejected: int = 0


class HandRun:
    """One run, from `run()` to Ctrl-C, SIGTERM, or the end of a socket's connection."""

    def __init__(
        self, spec: StreamSpec, settings: Settings, fold: KeyedFold, say: Callable[[str], None]
    ) -> None:
        self._spec, self._fold, self._say = spec, fold, say
        self._state = fold.empty()
        self._source = source_of(spec, settings)
        self._source.check(None)
        self._console = Console() if spec.writes("console") else None
        self._topics = [
            KafkaMessages(settings.kafka_access, sink.address, spec.name)
            for sink in spec.sinks
            if sink.kind == "kafka"
        ]
        self._log = settings.home / "logs" / f"run-{spec.name}.log"
        self._stopping = threading.Event()
        self._failure: Exception | None = None
        self._done = Done()

    def run(self) -> Done:
        """Run until asked to stop. Raises DriverError and SinkUnavailable, in words."""
        with tempfile.TemporaryDirectory(prefix="millrace-run-", ignore_cleanup_errors=True) as directory:
            with self._interruptible(), self._quiet():
                spark = start_session(self._spec, Path(directory) / "scratch")
            # Spark has put a handler of its own in the place of Ctrl-C's.
            with self._interruptible():
                try:
                    if not self._stopping.is_set():
                        self._run_query(spark, Path(directory) / "checkpoint")
                finally:
                    spark.stop()
        return self._done

    def _run_query(self, spark: SparkSession, checkpoint: Path) -> None:
        query = (
            self._source.read(spark, None)
            .writeStream.option("checkpointLocation", f"file://{checkpoint}")
            .trigger(processingTime=f"{int(self._spec.trigger.total_seconds() * 1000)} milliseconds")
            .foreachBatch(self._take)
            .start()
        )
        self._say("running")
        closed = None
        while query.isActive and not self._stopping.wait(LOOK_EVERY) and closed is None:
            closed = self._source.closed(spark, begun=self._done.batches > 0)
        if closed is not None:
            self._say(f"{closed}; what had come is counted")
            query.processAllAvailable()
        if query.isActive:
            _finish(query)
        if self._failure is not None:
            raise self._failure
        error = query.exception()
        if error is not None and not self._stopping.is_set():
            reason = str(error).partition("\n")[0]
            refused = self._source.refused(reason) if self._done.batches == 0 else None
            raise SourceClosed(refused or f"{reason} (what Spark says: {self._log})")

    def _take(self, records: DataFrame, batch: int) -> None:
        try:
            self._fold_batch(records, batch)
        except Exception as error:  # Spark would make a page of the JVM's stack of it
            self._failure = error
            raise

    def _fold_batch(self, records: DataFrame, batch: int) -> None:
        first = self._done.records if self._spec.source.kind != "kafka" else None
        table = self._source.batch(records).select(*RECORDS).toArrow()
        frame = ordered_records(table, self._source.order, first)
        self._done.batches += 1
        if frame.is_empty():
            return
        done = self._fold.fold(self._state, frame.select(list(RECORDS)))
        for topic in self._topics if done.messages else ():
            topic.send(done.messages, generation=0, batch=batch, driver_epoch=0)
        self._state = done.state
        self._done.records += frame.height
        self._done.rejected += done.rejected.height
        if self._console is not None:
            self._console.show(shown(done), batch=batch)

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Ctrl-C and SIGTERM end the run after its micro-batch; a second Ctrl-C ends it at once."""

        def stop(_number: int, _frame: FrameType | None) -> None:
            if self._stopping.is_set():
                raise KeyboardInterrupt
            self._stopping.set()

        with handled(stop, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            yield

    @contextmanager
    def _quiet(self) -> Iterator[None]:
        """A JVM that is started in here says what it says to the log instead of the terminal."""
        self._log.parent.mkdir(parents=True, exist_ok=True)
        sys.stdout.flush()
        sys.stderr.flush()
        kept = os.dup(1), os.dup(2)
        try:
            with self._log.open("wb") as log:
                os.dup2(log.fileno(), 1)
                os.dup2(log.fileno(), 2)
            yield
        finally:
            for number, descriptor in enumerate(kept, start=1):
                os.dup2(descriptor, number)
                os.close(descriptor)


def shown(done: Folded) -> dict[str, Any]:
    """What a person sees of a micro-batch: the app's own view, or else its facts; and what was rejected."""
    content = dict(done.live) if done.live is not None else {}
    if done.live is None:
        content = {"facts_changed": done.facts.height, "facts": _rows(done.facts)}
    if done.rejected.height:
        content["rejected"] = _rows(done.rejected)
    return content


def _rows(frame: pl.DataFrame) -> list[dict[str, Any]]:
    return [
        {
            name: f"{value:%Y-%m-%d %H:%M}" if isinstance(value, datetime) else value
            for name, value in row.items()
        }
        for row in frame.head(ROWS_SHOWN).iter_rows(named=True)
    ]


def _finish(query: StreamingQuery) -> None:
    """End a query between two micro-batches, if it can be."""
    deadline = time.monotonic() + FINISH_WITHIN
    while query.isActive and query.status["isTriggerActive"] and time.monotonic() < deadline:
        time.sleep(LOOK_EVERY)
    query.stop()
