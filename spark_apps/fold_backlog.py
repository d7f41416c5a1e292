"""fold_backlog: a large backlog of due hours, published by many processes at once.

Source: `backlog/<run>/work.json` in the store, written by `compact_hourly`. Each Spark task folds a few hours,
one after the other, with the fold and the audit of the Airflow task. Sink: the published hours, and per hour
what became of it (`millrace.publish.backlog`).

Ends with 0 when every hour was published, 1 when one was not (the others are), 2 when the work cannot begin.
It may be killed at any moment and run again: an hour is published by one conditional PUT or not at all.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from typing import TYPE_CHECKING

import psutil

from millrace import settings
from millrace.catalog import CatalogError, load_catalog
from millrace.publish.backlog import NoSuchWork, Part, headway, noted, read_results, read_work
from millrace.publish.outcome import NOT_PUBLISHED
from millrace.settings import SettingsError
from millrace.store import ObjectStore, StoreError, open_store
from spark_apps.runtime.fold_part import fold_part

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SAY_EVERY = 5.0
"""Seconds between two looks at how far the work is. Each is a LIST of what is done, so of a long backlog a
look may take a second; it then comes less often."""


class Orphaned(RuntimeError):
    """The process that submitted this application is gone."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Do the work of one run; returns the exit status."""
    parser = argparse.ArgumentParser(prog="fold_backlog", description="Publish a large backlog of hours.")
    parser.add_argument("--run", required=True, help="whose work: backlog/<run>/work.json in the store")
    run = parser.parse_args(arguments).run
    try:
        found = settings.load()
        store = open_store(found)
        parts = read_work(store, run)
        datasets = load_catalog(found.catalog_dir).datasets
        if unknown := {part.dataset for part in parts} - set(datasets):
            raise CatalogError(f"{found.catalog_dir} has no dataset {', '.join(sorted(unknown))}")
    except (SettingsError, CatalogError, NoSuchWork, StoreError) as error:
        say(f"cannot begin: {error}")
        return 2
    from pyspark.sql import SparkSession

    spark = SparkSession.builder.appName("millrace-fold-backlog").getOrCreate()
    try:
        return fold_all(spark, store, run, parts)
    finally:
        spark.stop()


def fold_all(spark: SparkSession, store: ObjectStore, run: str, parts: Sequence[Part]) -> int:
    """Fold every part on the executors and tell how far it is; returns the exit status."""
    total = sum(len(part.hours) for part in parts)
    context = spark.sparkContext
    say(
        f"{total:,} hours in {len(parts):,} tasks on {context.master}, {context.defaultParallelism} at a time; "
        "an hour is with one task only, so each has one publisher"
    )
    told = Told(store, run, total)
    with ThreadPoolExecutor(max_workers=1) as pool:
        job = pool.submit(context.parallelize(parts, len(parts)).foreach, partial(fold_part, run))
        try:
            attend(job, told)
        except Orphaned as error:
            context.cancelAllJobs()
            wait([job])
            say(f"{error}; ending. What is not published is due again in the next run")
            return 1
    told.say_how_far()
    outcomes = noted(store, run)
    bad = [name for name, outcome in outcomes.items() if outcome in NOT_PUBLISHED]
    if problem := job.exception():
        say(f"Spark ended the work early: {str(problem)[:2000]}")
    if problem or bad or len(outcomes) < total:
        say(f"{len(bad)} hours are not published, {total - len(outcomes)} were not reached; the others are")
        return 1
    return 0


def attend(job: Future[None], told: Told) -> None:
    """Say how far the work is until it has ended. Raises Orphaned."""
    parent = _submitter()
    every = SAY_EVERY
    while not wait([job], timeout=every).done:
        begun = time.monotonic()
        told.say_how_far()
        every = max(SAY_EVERY, 20 * (time.monotonic() - begun))
        if _submitter() != parent:
            raise Orphaned("the task that submitted this application is gone")


class Told:
    """What has been said of a run so far: each bad hour once, and how far it is whenever that changes."""

    def __init__(self, store: ObjectStore, run: str, total: int) -> None:
        self._store, self._run, self._total = store, run, total
        self._begun = time.monotonic()
        self._bad: set[tuple[str, str]] = set()
        self._line = ""

    def say_how_far(self) -> None:
        try:
            outcomes = noted(self._store, self._run)
            bad = [name for name, outcome in outcomes.items() if outcome in NOT_PUBLISHED]
            results = read_results(self._store, self._run, [one for one in bad if one not in self._bad])
        except StoreError as error:
            say(f"how far it is cannot be seen: {error}")
            return
        self._bad.update(bad)
        for one in results:
            say(f"{one['dataset']} {one['hour']} {one['outcome'].upper()}: {one['error']}")
        line = headway(self._total, outcomes.values(), time.monotonic() - self._begun)
        if line != self._line:
            say(line)
        self._line = line


def say(text: str) -> None:
    """A line for the task's log, which puts the time before it."""
    print(text, flush=True)


def _submitter() -> int | None:
    """The process above Spark's JVM, which is above this one; None when it cannot be seen."""
    try:
        return psutil.Process(os.getppid()).ppid()
    except psutil.Error:
        return None


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    sys.exit(main())
