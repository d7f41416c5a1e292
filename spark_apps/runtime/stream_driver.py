"""The life of a driver: claim an epoch, open the checkpoint, run the query, let it commit batch by batch, end.

Python is the top process and the JVM its child, so that signals and exit codes are ours: a SIGTERM, a
desired state of *stopped* or a newer driver ends the query between two micro-batches, and a JVM that is
gone ends the Python side at once.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from py4j.protocol import Py4JError, Py4JJavaError

from millrace.catalog import DatasetSpec, StreamSpec
from millrace.control.code_version import code_version
from millrace.control.epochs import claim_epoch, newest_epoch
from millrace.control.kept_code import keep_code
from millrace.control.status import DriverState
from millrace.publish.landing import SealConflict
from millrace.settings import Settings
from millrace.store import StoreUnavailable, open_store
from spark_apps.runtime.batch_committer import BatchCommitter
from spark_apps.runtime.carried_state import CarriedState, Manifest, StateConflict
from spark_apps.runtime.checkpoint import check_readable, open_checkpoint
from spark_apps.runtime.errors import (
    CheckpointShared,
    DriverError,
    Fenced,
    JvmGone,
    SinkUnavailable,
    SourceClosed,
    StopRequested,
)
from spark_apps.runtime.keyed_fold import KeyedFold
from spark_apps.runtime.outputs import Outputs
from spark_apps.runtime.place import OwnProcess, Place
from spark_apps.runtime.poison import Attempts
from spark_apps.runtime.progress import Progress
from spark_apps.runtime.reporter import Reporter
from spark_apps.runtime.sources import StreamSource, source_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.streaming import StreamingQuery

log = logging.getLogger(__name__)

LOOK_EVERY = 0.25
"""Seconds between looks at the query; each is a round trip to the JVM and shows whether it still lives."""
KEEP_AFTER = 30.0
"""Seconds after which a driver that had nothing to do has shown that it runs."""
CRASHED = 1
"""Any exit code that is not in control/exit_codes.py: the host starts the driver again."""

SHARED_CHECKPOINT = ("CONCURRENT_STREAM_LOG_UPDATE", "Multiple streaming queries are concurrently using")
"""What Spark says when a log of the checkpoint, which only one may write to, was written to by another."""


class StreamDriver:
    """One driver of one stream, from `run()` to its exit code."""

    def __init__(
        self,
        spec: StreamSpec,
        dataset: DatasetSpec | None,
        settings: Settings,
        fold: KeyedFold,
        spec_revision: int,
        place: Place | None = None,
    ) -> None:
        self._place = place or OwnProcess()
        self._spec = spec
        self._dataset = dataset
        self._settings = settings
        self._fold = fold
        self._store = open_store(settings)
        self._home = settings.home / "streams" / spec.name
        self._revision = spec_revision
        self._progress = Progress()
        self._stopping = threading.Event()
        self._fenced_by = 0
        self._failure: BaseException | None = None
        self._given_up = False
        self._attempts = Attempts(
            self._home / "batch-at-hand.json",
            spec.topic,
            puts_aside=spec.on_poison == "put_aside",
            counts_deaths=spec.driver is None,
        )

    def run(self) -> int:
        """Run until told to stop; return the exit code (see control/exit_codes.py)."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.ask_to_stop("asked to stop by a signal"))
        return self.live()

    def live(self) -> int:
        """As `run`, in any thread, without hearing signals."""
        try:
            epoch = claim_epoch(self._store, self._spec.name, spec_revision=self._revision)
        except StoreUnavailable as error:
            log.error("%s: not started, the object store does not answer: %s", self._spec.name, error)
            return CRASHED
        log.info("%s: driver epoch %d", self._spec.name, epoch)
        reporter = Reporter(
            self._store,
            self._spec,
            driver_epoch=epoch,
            spec_revision=self._revision,
            progress=self._progress,
            pid=self._place.pid,
            on_stop=self.ask_to_stop,
            on_fenced=self._fence,
        )
        reporter.start()
        state, code, words = self._run_guarded(reporter, epoch)
        reporter.end(state, code, words)
        log.log(
            logging.ERROR if code else logging.INFO, "%s: %s (exit %d)", self._spec.name, words or state, code
        )
        return code

    def _run_guarded(self, reporter: Reporter, epoch: int) -> tuple[DriverState, int, str | None]:
        state, code, words = self._run_to_its_end(reporter, epoch)
        if state == "failed" and (newer := self._newer_driver(epoch)):
            # Two queries on one checkpoint fail in many ways; the other driver is the cause of all of them.
            first = (words or "").partition("\n")[0]
            return (
                "fenced",
                Fenced.exit_code,
                f"driver epoch {newer} has taken over; this one ended with: {first}",
            )
        return state, code, words

    def _newer_driver(self, epoch: int) -> int:
        """A greater driver epoch than one's own, 0 when there is none or nobody knows."""
        if self._fenced_by:
            return self._fenced_by
        try:
            newest = newest_epoch(self._store, self._spec.name, known=epoch)
        except StoreUnavailable:
            return 0
        return newest if newest > epoch else 0

    def _run_to_its_end(self, reporter: Reporter, epoch: int) -> tuple[DriverState, int, str | None]:
        try:
            with Outputs(self._spec, self._settings, self._store, epoch) as outputs:
                self._run_query(reporter, outputs)
        except DriverError as error:
            return ("fenced" if isinstance(error, Fenced) else "failed"), error.exit_code, str(error)
        except (ConnectionError, StoreUnavailable, SinkUnavailable) as error:
            return "failed", CRASHED, str(error)
        except Exception as error:
            log.exception("%s: the driver failed", self._spec.name)
            return "failed", CRASHED, f"{type(error).__name__}: {str(error)[:2000]}"
        if self._fenced_by:
            return "fenced", Fenced.exit_code, f"driver epoch {self._fenced_by} has taken over"
        return "stopped", 0, None

    def _run_query(self, reporter: Reporter, outputs: Outputs) -> None:
        source = source_of(self._spec, self._settings)
        checkpoint = open_checkpoint(self._store, self._spec, self._home / "checkpoint")
        state = CarriedState(self._store, self._spec.name, checkpoint.generation)
        last = checkpoint.last_committed()
        resumed = checkpoint.base if last is None else state.manifest(last)
        source.check(resumed.offsets if resumed is not None else None)
        if resumed is not None:
            check_readable(self._store, resumed, self._fold)
            self._progress.resumed(resumed.offsets)
        self._warn(source, resumed)
        if last is not None:
            state.sweep(last)
        reporter.watch(source, checkpoint.generation)
        if self._stopping.is_set():
            return
        spark = self._place.session(self._spec, self._home / "scratch")
        if self._stopping.is_set():  # a query of a driver that was fenced would break that of its successor
            self._close(spark)
            return
        reporter.show_ui(spark.sparkContext.uiWebUrl)
        committer = BatchCommitter(
            self._spec,
            self._dataset,
            self._store,
            self._fold,
            source,
            checkpoint,
            state,
            outputs,
            self._attempts,
            self._progress,
            self._stopping,
            self._place,
        )
        records = source.read(spark, checkpoint.starting_offsets)
        query = (
            records.writeStream.queryName(self._spec.name)
            .option("checkpointLocation", f"file://{checkpoint.spark_directory}")
            .trigger(processingTime=f"{int(self._spec.trigger.total_seconds() * 1000)} milliseconds")
            .foreachBatch(self._committing(committer, reporter))
            .start()
        )
        log.info("%s: running, generation %d", self._spec.name, checkpoint.generation)
        reporter.runs(code := code_version(self._spec.app))
        reporter.now("running")
        try:
            self._attend(query, reporter, source, spark, code)
        except Py4JJavaError:
            raise
        except (Py4JError, ConnectionError) as error:  # no answer at all
            raise JvmGone(
                "the JVM of this driver is gone (killed, or out of memory); what it had not committed is read again "
                "at the next start"
            ) from error
        self._close(spark)

    def _keep(self, code: str | None) -> None:
        """A copy of the code that has shown that it works, for the day when a successor is refused."""
        if code is None or self._spec.driver is not None:
            return
        try:
            keep_code(self._settings, self._spec.name, self._spec.app, code)
        except OSError as error:
            log.warning("%s: the code that it runs could not be kept: %s", self._spec.name, error)

    def _attend(
        self,
        query: StreamingQuery,
        reporter: Reporter,
        source: StreamSource,
        spark: SparkSession,
        code: str | None,
    ) -> None:
        """Wait for the query to end, or for a reason to end it; then end it between two micro-batches."""
        closed = None
        kept, keep_at = False, time.monotonic() + KEEP_AFTER
        while query.isActive and not self._stopping.wait(LOOK_EVERY) and closed is None:
            closed = source.closed(spark, begun=self._has_begun)
            if not kept and (self._has_begun or time.monotonic() > keep_at):
                kept = True
                self._keep(code)
        if closed is not None and not self._stopping.is_set():
            query.processAllAvailable()
            raise SourceClosed(f"{closed}; every line that had come is counted")
        if self._stopping.is_set():
            reporter.now("stopping")
            self._attempts.excuse()
            deadline = time.monotonic() + self._spec.stop_within.total_seconds()
            while query.isActive and query.status["isTriggerActive"] and time.monotonic() < deadline:
                time.sleep(LOOK_EVERY)
            if query.isActive and query.status["isTriggerActive"]:
                self._given_up = True
                log.warning(
                    "%s: the micro-batch at hand did not end within %s: it is broken off, and read again at the next "
                    "start",
                    self._spec.name,
                    self._spec.stop_within,
                )
            query.stop()
            self._raise_failure()
            return
        self._raise_failure()
        error = query.exception()
        refused = source.refused(str(error).partition("\n")[0]) if not self._has_begun else None
        if refused is not None:
            raise SourceClosed(refused)
        if any(words in str(error) for words in SHARED_CHECKPOINT):
            raise CheckpointShared(
                "another driver was still at work on this checkpoint, and was first with a micro-batch; nothing is "
                "lost or counted twice, and the next start goes on after it"
            )
        raise RuntimeError(f"the query ended by itself: {error}")

    @property
    def _has_begun(self) -> bool:
        return bool(self._progress.snapshot()["batches"])

    def _warn(self, source: StreamSource, resumed: Manifest | None) -> None:
        if source.warning is None:
            return
        log.warning("%s: %s", self._spec.name, source.warning)
        if resumed is not None:
            log.warning(
                "%s: goes on after %d records; what had come after them and was not counted is lost",
                self._spec.name,
                sum(resumed.offsets.values()),
            )

    def _raise_failure(self) -> None:
        if self._failure is not None and not isinstance(self._failure, StopRequested):
            raise self._failure

    def _committing(self, committer: BatchCommitter, reporter: Reporter) -> Callable[[DataFrame, int], None]:
        def commit_batch(records: DataFrame, batch: int) -> None:
            if self._stopping.is_set():
                self._failure = StopRequested()
                raise self._failure
            try:
                committer.commit(records, batch)
                if self._progress.snapshot()["batches"] == 1:
                    reporter.nudge()
            except (StateConflict, SealConflict) as error:
                self._failure = Fenced(str(error))
                raise self._failure from error
            except Exception as error:
                broken_off = self._given_up and not isinstance(error, DriverError)
                self._failure = StopRequested() if broken_off else error
                raise

        return commit_batch

    def ask_to_stop(self, why: str) -> None:
        """End after the micro-batch at hand; from any thread."""
        if not self._stopping.is_set():
            log.info("%s: stopping after this micro-batch: %s", self._spec.name, why)
            self._stopping.set()

    def _fence(self, newer: int) -> None:
        self._fenced_by = newer
        self.ask_to_stop(f"driver epoch {newer} has taken over")

    def _close(self, spark: SparkSession) -> None:
        try:
            self._place.leave(spark)
        except Exception as error:
            log.warning("%s: Spark did not close cleanly: %s", self._spec.name, error)
