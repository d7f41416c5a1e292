"""Commit one micro-batch of a driver: its facts, its seals, then the manifest of its state, which is the commit.

Everything a batch writes may be written twice: names are repeated by a retry and contents are reproduced, so that a
store that was away is waited for, and a driver that was killed is followed by one that does the same again.
"""

from __future__ import annotations

import logging
import threading
import time
from datetime import datetime
from typing import TYPE_CHECKING

from millrace.catalog import DatasetSpec, StreamSpec
from millrace.publish.landing import SealConflict, write_seals
from millrace.publish.version import Version
from millrace.store import ObjectStore, StoreUnavailable
from spark_apps.runtime.batch_commit import next_commit
from spark_apps.runtime.carried_state import CarriedState, Manifest, StateConflict
from spark_apps.runtime.cause import cause_of, is_jvm_gone, last_line
from spark_apps.runtime.checkpoint import Checkpoint
from spark_apps.runtime.clock import HOUR, as_datetime
from spark_apps.runtime.errors import BadConfiguration, DriverError, SinkUnavailable
from spark_apps.runtime.keyed_fold import KeyedFold
from spark_apps.runtime.micro_batch import BatchTask, run_micro_batch
from spark_apps.runtime.outputs import Outputs
from spark_apps.runtime.place import Place
from spark_apps.runtime.planned import planned_spans
from spark_apps.runtime.poison import Attempts, Spans
from spark_apps.runtime.progress import Progress
from spark_apps.runtime.sources import StreamSource

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

log = logging.getLogger(__name__)

STORE_PATIENCE = 5
"""Attempts at one micro-batch while the store does not answer, 1 + 2 + 4 + 8 s apart: a restart of the
store must not cost a restart of the driver."""


class BatchCommitter:
    """The micro-batches of one query, one after the other. `stopping`: whether its driver was asked to stop."""

    def __init__(
        self,
        spec: StreamSpec,
        dataset: DatasetSpec | None,
        store: ObjectStore,
        fold: KeyedFold,
        source: StreamSource,
        checkpoint: Checkpoint,
        state: CarriedState,
        outputs: Outputs,
        attempts: Attempts,
        progress: Progress,
        stopping: threading.Event,
        place: Place,
    ) -> None:
        self._spec, self._dataset, self._store, self._fold = spec, dataset, store, fold
        self._source, self._checkpoint, self._state, self._outputs = source, checkpoint, state, outputs
        self._attempts, self._progress, self._stopping, self._place = attempts, progress, stopping, place

    def commit(self, records: DataFrame, batch: int) -> None:
        """Commit a batch, and keep account of what becomes of it: see poison.py.

        Raises StateConflict and SealConflict when another driver was first, DriverError when there is no going on,
        StoreUnavailable and SinkUnavailable when patience did not help, and whatever the transform raises.
        """
        verdict = self._attempts.begin(self._checkpoint.generation, batch, self._spans(batch))
        while True:
            if verdict == "look":
                log.warning(
                    "%s: micro-batch %d ends its driver each time: trying its records apart, to put aside those that "
                    "fail",
                    self._spec.name,
                    batch,
                )
            try:
                self._patiently(records, batch, look=verdict == "look")
                return self._attempts.committed()
            except (StateConflict, SealConflict, DriverError, StoreUnavailable, SinkUnavailable):
                self._attempts.excuse()  # none says that the batch is bad
                raise
            except Exception as error:
                cause = "environment" if self._stopping.is_set() else cause_of(error)
                gone = is_jvm_gone(error)
                words = last_line(error, self._place.jvm_exit() if gone else None)
                again = self._attempts.failed(cause, words, can_go_on=not gone)
                if again is None:
                    raise
                verdict = again

    def _spans(self, batch: int) -> Spans:
        before = self._before(batch)
        reached = before.offsets if before is not None else self._checkpoint.starting_offsets or {}
        return planned_spans(self._checkpoint.spark_directory, self._spec.topic, batch, reached)

    def _before(self, batch: int) -> Manifest | None:
        return self._checkpoint.base if batch == 0 else self._state.manifest(batch - 1)

    def _patiently(self, records: DataFrame, batch: int, *, look: bool) -> None:
        """Try again while only the store or the sink is away."""
        for number in range(STORE_PATIENCE):
            try:
                return self._commit(records, batch, look=look)
            except (StoreUnavailable, SinkUnavailable) as error:
                if number == STORE_PATIENCE - 1 or self._stopping.is_set():
                    raise
                log.warning("%s: store or sink does not answer, trying again: %s", self._spec.name, error)
                self._stopping.wait(2**number)
        return None

    def _commit(self, records: DataFrame, batch: int, *, look: bool) -> None:
        started = time.monotonic()
        committed = self._state.manifest(batch)
        if committed is not None:  # before a crash: its facts, seals and state are all written
            self._progress.resumed(committed.offsets)
            return
        before = self._before(batch)
        if before is None and batch > 0:
            raise BadConfiguration(
                f"batch {batch} has nothing to go on from: the store has no state of batch {batch - 1}. If it was "
                f"removed, `millrace stream reset {self._spec.name}` counts the open hours anew"
            )
        generation = self._checkpoint.generation
        task = BatchTask(
            fold=self._fold,
            stream=self._spec.name,
            topic=self._spec.topic,
            dataset=self._dataset,
            generation=generation,
            batch=batch,
            buckets=self._spec.buckets,
            packs=before.packs if before else {},
            first_complete_hour=self._checkpoint.first_complete_hour,
            first_offset=_first_number(self._spec, before),
            order=self._source.order,
            look=look,
        )
        summaries = run_micro_batch(self._source.batch(records), task)
        commit = next_commit(self._spec, generation, batch, before, summaries)
        self._outputs.send(summaries, generation=generation, batch=batch)
        if self._dataset is not None:
            write_seals(
                self._store,
                self._dataset,
                self._spec.name,
                [_hour(hour) for hour in commit.sealing.hours],
                Version(0, generation, batch),
            )
        self._state.commit(commit.manifest)
        self._outputs.show(summaries, batch=batch)
        seconds = time.monotonic() - started
        self._progress.batch_done(commit, summaries, seconds)
        for summary in summaries:
            log.debug(
                "batch %d bucket %d: %d records, %s", batch, summary.bucket, summary.records, summary.seconds
            )
        log.debug("batch %d: %.3f s, %d hours sealed", batch, seconds, len(commit.sealing.hours))


def _first_number(spec: StreamSpec, before: Manifest | None) -> int | None:
    """The number of a batch's first record, for a source that has no offsets of its own."""
    if spec.source.kind == "kafka":
        return None
    return before.offsets.get("0", 0) if before is not None else 0


def _hour(number: int) -> datetime:
    return as_datetime(number * HOUR)
