"""How long an hour is audited before it is published: neighbours read, judged, results kept, on the S3 server.

    python -m bench.audit [--stations 3000] [--rounds 10]

The suite of hourly_summary on hours that pass, with the hour before and the same hour of the four weeks
before published; then an hour of which every row fails a critical expectation. The processor time of this
process is given too: it holds on a machine that is busy with something else.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from statistics import median

import polars as pl

from bench.embedded import embedded
from millrace.catalog import DatasetSpec, load_catalog
from millrace.publish.codec import empty_hour, encode_hour
from millrace.publish.hour import VERSION, HourState
from millrace.publish.layout import published_key
from millrace.quality.auditor import auditor_of
from millrace.settings import PROJECT_ROOT
from millrace.store import open_store

HOUR = datetime(2026, 3, 4, 8, tzinfo=UTC)
TIMES = pl.Datetime("us", "UTC")


def rows(hour: datetime, stations: int, rentals: int = 6) -> pl.DataFrame:
    """An hour in which every station has as many rentals as returns."""
    return pl.select(
        system_id=pl.lit("bench_city"),
        station_id=pl.format("station-{}", pl.int_range(stations)),
        window_start=pl.lit(hour, TIMES),
        window_end=pl.lit(hour + timedelta(hours=1), TIMES),
        total_rental=pl.lit(rentals, pl.Int64),
        total_return=pl.lit(rentals, pl.Int64),
        observations=pl.lit(120, pl.Int64),
        gaps=pl.lit(0, pl.Int64),
        last_observed_at=pl.lit(hour + timedelta(minutes=59), TIMES),
        bikes_at_end=pl.int_range(stations, dtype=pl.Int64) % 20,
        **{VERSION: pl.lit(1, pl.Int64)},
    )


def state(dataset: DatasetSpec, hour: datetime, stations: int, rentals: int = 6) -> HourState:
    return replace(empty_hour(dataset), rows=rows(hour, stations, rentals), rev=1)


def timed(what: str, rounds: Sequence[Callable[[], object]]) -> None:
    """Print the medians of wall clock and processor time."""
    wall, processor = [], []
    for do in rounds:
        begun, used = time.perf_counter(), time.process_time()
        do()
        wall.append(time.perf_counter() - begun)
        processor.append(time.process_time() - used)
    print(f"{what:45} {median(wall):6.2f} s, {median(processor):6.2f} s of CPU")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--stations", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=10)
    asked = parser.parse_args()
    logging.disable(logging.WARNING)  # the hour in which every row fails is meant to
    dataset = load_catalog(PROJECT_ROOT / "catalog").datasets["hourly_summary"]
    with (
        tempfile.TemporaryDirectory(prefix="millrace-bench-") as directory,
        embedded(Path(directory)) as stack,
    ):
        store = open_store(stack.settings)
        for before in (timedelta(hours=1), *(timedelta(weeks=week) for week in range(1, 5))):
            body = encode_hour(state(dataset, HOUR - before, asked.stations), dataset)
            store.put(published_key(dataset.prefix, HOUR - before), body)
        timed("import of Great Expectations, suite read", [lambda: auditor_of(store, [dataset])])
        for what, rentals, passes in (("an hour that passes", 6, True), ("every row fails", 5000, False)):
            candidate = state(dataset, HOUR, asked.stations, rentals)
            # An auditor does not judge again what it has passed, so each round has one of its own. The first
            # round pays for what Great Expectations loads late.
            rounds = [
                partial(auditor_of(store, [dataset]), dataset, HOUR, candidate, empty_hour(dataset))
                for _ in range(asked.rounds + 1)
            ]
            if rounds.pop()().passed is not passes:
                raise SystemExit(f"{what}: the suite says something else")
            timed(f"{what}, {asked.stations:,} rows", rounds)


if __name__ == "__main__":
    main()
