"""One micro-batch on the executors: fold each bucket, write facts, rejects and state; report one line.

Everything written has a name that a retry repeats and a content that a retry reproduces, so a task may
run twice, or on two drivers at once, without harm. Nothing counts until the driver commits the manifest.
"""

from __future__ import annotations

import json
import os
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa

from millrace import settings
from millrace.catalog import DatasetSpec
from millrace.publish.landing import write_facts
from millrace.publish.version import Version
from millrace.store import S3Store, StoreUnavailable, open_store
from spark_apps.runtime.carried_state import PackRef, get_pack, put_pack
from spark_apps.runtime.clock import SourceClock
from spark_apps.runtime.keyed_fold import RECORDS, Folded, KeyedFold, prepared
from spark_apps.runtime.poisoned import fold_without
from spark_apps.runtime.records import IN_KAFKA, in_order
from spark_apps.runtime.rejected import write_rejected
from spark_apps.runtime.trial import failing_rows

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

CACHED_STATES = 4
STORE_UNAVAILABLE = "store_unavailable"


@dataclass(frozen=True)
class BatchTask:
    """What an executor must know; pickled into each task. Secrets are not: they are in its environment."""

    fold: KeyedFold
    stream: str
    topic: str
    dataset: DatasetSpec | None
    generation: int
    batch: int
    buckets: int
    packs: dict[int, PackRef]
    first_complete_hour: datetime | None = None
    first_offset: int | None = None
    """For sources without offsets: the number of the batch's first record."""
    order: tuple[str, ...] = IN_KAFKA
    """The columns by which the records are in the order in which they came."""
    look: bool = False
    """Try the records apart first, and put aside those on which the transform fails or dies."""


@dataclass(frozen=True)
class BucketSummary:
    """What one bucket did: the only thing that reaches the driver."""

    bucket: int
    pack: PackRef
    next_offsets: dict[str, int]
    first_offsets: dict[str, int]
    clocks: dict[str, SourceClock]
    fact_hours: list[int]
    records: int
    observations: int
    facts: int
    rejected: dict[str, int]
    seconds: dict[str, float]
    messages: list[tuple[str, str]] = field(default_factory=list)
    live: dict[str, Any] | None = None


def run_micro_batch(records: DataFrame, task: BatchTask) -> list[BucketSummary]:
    """Fold a micro-batch of Kafka records (key, value, partition, offset, timestamp) on the executors.

    Raises StoreUnavailable when the store did not answer a task; the batch may be run again as it is.
    """
    from pyspark.sql import functions as F

    columns = [F.col(name) for name in RECORDS]
    if task.buckets == 1:  # everything in one task, without a shuffle
        bucketed = records.select(*columns).coalesce(1)
    else:
        bucket = F.pmod(F.xxhash64("key"), F.lit(task.buckets)).cast("int").alias("bucket")
        bucketed = records.select(*columns, bucket).repartition(task.buckets, "bucket")
    rows = bucketed.mapInArrow(partial(_run_task, task), "summary string").collect()
    return _summaries([row.summary for row in rows])


def _run_task(task: BatchTask, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    portions = (pl.DataFrame(pl.from_arrow(batch)) for batch in batches if batch.num_rows)
    # Records that are to be looked into are not touched before that: they may be what ends this process.
    received = [portion if task.look else prepared(task.fold, portion) for portion in portions]
    if not received:
        return
    records = in_order(pl.concat(received), task.order, task.first_offset)
    parts = {(0,): records}
    if task.buckets > 1:
        parts = records.partition_by("bucket", as_dict=True, include_key=False)
    for (bucket,), part in sorted(parts.items(), key=lambda item: item[0]):
        try:
            line = _to_json(fold_bucket(task, int(bucket), part, _store()))
        except StoreUnavailable as error:
            # Told, not raised: Spark would turn it into a text, and the driver could not tell a store that
            # is away from a batch that fails.
            line = json.dumps({STORE_UNAVAILABLE: str(error)})
        yield pa.RecordBatch.from_pydict({"summary": [line]})


def fold_bucket(task: BatchTask, bucket: int, records: pl.DataFrame, store: S3Store) -> BucketSummary:
    """Fold one bucket's records (RECORDS and what `prepare` added, in order) and write what comes of it."""
    marks = [time.perf_counter()]
    state = _state(task, bucket, store)
    marks.append(time.perf_counter())
    done = (
        _folded_with_care(task, state, bucket, records, store)
        if task.look
        else task.fold.fold(state, records)
    )
    # Before anything is written: a batch whose state cannot be packed must leave no facts behind.
    body = task.fold.pack(done.state)
    marks.append(time.perf_counter())
    facts, hours = 0, list[datetime]()
    if task.dataset is not None:
        facts, hours = _write_facts(task, task.dataset, done.facts, bucket, store)
    write_rejected(store, task, bucket, records, done.rejected)
    marks.append(time.perf_counter())
    pack = put_pack(store, task.stream, task.generation, task.batch, bucket, body)
    _remember(pack.sha256, done.state, at_most=max(CACHED_STATES, task.buckets))
    marks.append(time.perf_counter())
    spans = records.group_by("partition").agg(first=pl.col("offset").min(), last=pl.col("offset").max())
    return BucketSummary(
        bucket=bucket,
        pack=pack,
        next_offsets={str(partition): last + 1 for partition, _, last in sorted(spans.iter_rows())},
        first_offsets={str(partition): first for partition, first, _ in sorted(spans.iter_rows())},
        clocks=dict(done.clocks),
        fact_hours=[int(hour.timestamp()) // 3600 for hour in hours],
        records=records.height,
        observations=done.observations,
        facts=facts,
        rejected=dict(sorted(done.rejected.group_by("reason").len().iter_rows())),
        seconds={
            name: round(end - start, 4)
            for name, start, end in zip(("load", "fold", "write", "state"), marks, marks[1:], strict=False)
        },
        messages=list(done.messages),
        live=dict(done.live) if done.live is not None else None,
    )


def _folded_with_care(
    task: BatchTask, state: Any, bucket: int, records: pl.DataFrame, store: S3Store
) -> Folded:
    ref = task.packs.get(bucket)
    before = get_pack(store, ref) if ref is not None else None
    return fold_without(task.fold, state, records, failing_rows(task.fold, before, records, task.dataset))


def _write_facts(
    task: BatchTask, dataset: DatasetSpec, facts: pl.DataFrame, bucket: int, store: S3Store
) -> tuple[int, list[datetime]]:
    if facts.is_empty():
        return 0, []
    if task.first_complete_hour is not None:
        facts = facts.filter(pl.col("window_start") >= task.first_complete_hour)
    hours = write_facts(store, dataset, facts, Version(0, task.generation, task.batch), bucket)
    return facts.height, hours


# Worker processes are reused, so the state a bucket wrote in the last batch is mostly still here. Keyed by
# content: a state that another process, or another attempt, carried on can never be taken for it.
_states: OrderedDict[str, Any] = OrderedDict()
_stores: dict[int, S3Store] = {}


def _state(task: BatchTask, bucket: int, store: S3Store) -> Any:
    ref = task.packs.get(bucket)
    if ref is None:
        return task.fold.empty()
    if ref.sha256 in _states:
        return _states[ref.sha256]
    return task.fold.unpack(get_pack(store, ref))


def _remember(digest: str, state: Any, at_most: int) -> None:
    _states[digest] = state
    while len(_states) > at_most:
        _states.popitem(last=False)


def _store() -> S3Store:
    """This process's store; its client is made once, not per task."""
    if os.getpid() not in _stores:
        _stores[os.getpid()] = open_store(settings.load())
    return _stores[os.getpid()]


def _to_json(summary: BucketSummary) -> str:
    fields = dict(vars(summary))
    fields["pack"] = summary.pack.model_dump()
    fields["clocks"] = {name: [c.newest_at, c.heard_at, c.ended] for name, c in summary.clocks.items()}
    return json.dumps(fields)


def _summaries(lines: Iterable[str]) -> list[BucketSummary]:
    told = [json.loads(line) for line in lines]
    for fields in told:
        if STORE_UNAVAILABLE in fields:
            raise StoreUnavailable(fields[STORE_UNAVAILABLE])
    return sorted(map(_from_json, told), key=lambda summary: summary.bucket)


def _from_json(fields: dict[str, Any]) -> BucketSummary:
    fields["pack"] = PackRef(**fields["pack"])
    fields["clocks"] = {name: SourceClock(*clock) for name, clock in fields["clocks"].items()}
    fields["messages"] = [(key, value) for key, value in fields["messages"]]
    return BucketSummary(**fields)
