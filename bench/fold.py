"""How fast an hour is folded, beside Polars and DuckDB doing the same on the same S3 server in one run.

    python -m bench.fold [--objects 720] [--rows 3000] [--rounds 3]

Each reads every landing object of one hour, keeps the newest row per key and writes one Parquet object.
Ours also does what makes it safe: conditions, versions, marks, checks of every object. Polars reads with
`scan_parquet` on S3 and writes with `sink_parquet`; DuckDB reads through fsspec over Arrow's S3 client and
writes through it. DuckDB is not among the locked requirements: `.venv/bin/pip install duckdb` first;
without it only the other two are compared.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

import polars as pl

from bench.embedded import embedded
from millrace.catalog import DatasetSpec
from millrace.publish.codec import decode_hour
from millrace.publish.fold import fold_hour
from millrace.publish.generations import create_generation
from millrace.publish.landing import landing_objects
from millrace.publish.layout import landing_prefix, published_key
from millrace.publish.version import Version
from millrace.settings import Settings
from millrace.store import ObjectStore, open_store

HOUR = datetime(2026, 3, 29, 1, tzinfo=UTC)
DATASET = DatasetSpec(
    name="bench",
    prefix="bench",
    keys=["system_id", "station_id"],
    columns={
        "system_id": "string",
        "station_id": "string",
        "window_start": "timestamp",
        "window_end": "timestamp",
        "total_rental": "int64",
        "total_return": "int64",
        "observations": "int64",
        "gaps": "int64",
        "last_observed_at": "timestamp",
        "bikes_at_end": "int64",
    },
    writers=["bench"],
)


def facts(batch: int, rows: int) -> pl.DataFrame:
    """Totals of one micro-batch: every station once, larger with every batch."""
    times = pl.Datetime("us", "UTC")
    return pl.select(
        system_id=pl.lit("bench_city"),
        station_id=pl.format("station-{}", pl.int_range(rows)),
        window_start=pl.lit(HOUR, times),
        window_end=pl.lit(HOUR + timedelta(hours=1), times),
        total_rental=pl.int_range(rows, dtype=pl.Int64) % 7 + batch,
        total_return=pl.int_range(rows, dtype=pl.Int64) % 5 + batch,
        observations=pl.lit(batch + 1, pl.Int64),
        gaps=pl.lit(0, pl.Int64),
        last_observed_at=pl.lit(HOUR + timedelta(seconds=5 * batch), times),
        bikes_at_end=pl.int_range(rows, dtype=pl.Int64) % 20,
    )


def fill(store: ObjectStore, objects: int, rows: int) -> int:
    """Land an hour of micro-batches; returns the bytes."""
    create_generation(store, DATASET.name, parent=None, first_complete_hour=None)
    written = 0
    for batch in range(objects):
        (key, body), *_ = landing_objects(DATASET, facts(batch, rows), Version(0, 1, batch), 0).values()
        store.put(key, body)
        written += len(body)
    return written


def ours(settings: Settings) -> None:
    """A fold of the hour that has not been published. On this store nothing is deleted for ten minutes."""
    result = fold_hour(open_store(settings), DATASET, HOUR)
    if result.outcome != "published":
        raise SystemExit(f"the fold did not publish: {result}")


def polars_(settings: Settings) -> None:
    """scan_parquet over all objects, newest per key, sink_parquet."""
    options = {
        "aws_endpoint_url": str(settings.s3_endpoint),
        "aws_access_key_id": str(settings.access_key),
        "aws_secret_access_key": str(settings.secret_key),
        "aws_region": settings.s3_region,
        "aws_allow_http": "true",
    }
    source = f"s3://{settings.bucket}/{landing_prefix(DATASET.name, HOUR)}*.parquet"
    rows = pl.scan_parquet(source, storage_options=options)
    best = rows.group_by(DATASET.keys).agg(pl.col("version").max())
    newest = rows.join(best, on=[*DATASET.keys, "version"], how="semi").sort(DATASET.keys)
    newest.collect().write_parquet(f"s3://{settings.bucket}/peer/polars.parquet", storage_options=options)


def duckdb_(settings: Settings) -> None:
    """read_parquet over fsspec, newest per key by arg_max, COPY over fsspec."""
    import duckdb
    from fsspec.implementations.arrow import ArrowFSWrapper
    from pyarrow.fs import S3FileSystem

    class Store(ArrowFSWrapper):  # type: ignore[misc]
        protocol = "store"

        @classmethod
        def _strip_protocol(cls, path: str) -> str:
            return path.removeprefix("store://").strip("/")

    client = S3FileSystem(
        access_key=settings.access_key,
        secret_key=settings.secret_key,
        endpoint_override=str(settings.s3_endpoint).removeprefix("http://"),
        scheme="http",
        region=settings.s3_region,
    )
    connection = duckdb.connect()
    connection.register_filesystem(Store(client))
    source = f"store://{settings.bucket}/{landing_prefix(DATASET.name, HOUR)}*.parquet"
    keys = ", ".join(DATASET.keys)
    connection.execute(
        f"COPY (SELECT * FROM (SELECT unnest(newest) FROM (SELECT arg_max(facts, version) AS newest "  # noqa: S608
        f"FROM read_parquet('{source}', hive_partitioning=false) facts GROUP BY {keys})) ORDER BY {keys}) "
        f"TO 'store://{settings.bucket}/peer/duckdb.parquet' (FORMAT parquet, COMPRESSION zstd)"
    )


CONTENDERS: dict[str, Callable[[Settings], None]] = {"ours": ours, "polars": polars_, "duckdb": duckdb_}


def measured(name: str) -> None:
    """One contender in a process of its own: prints seconds (after the imports) and the peak of memory."""
    from millrace import settings

    found = settings.load()
    if name == "ours":
        open_store(found).delete(published_key(DATASET.prefix, HOUR))
        import pyarrow.parquet

    if name == "duckdb":
        import duckdb  # noqa: F401
        import fsspec.implementations.arrow  # noqa: F401
        import pyarrow.fs  # noqa: F401
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.perf_counter()
    CONTENDERS[name](found)
    seconds = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{seconds:.3f} {(peak - before) / 1024:.0f}")


def main() -> None:
    """Land the hour, let each fold it in turn, and print the medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--objects", type=int, default=720)
    parser.add_argument("--rows", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", choices=list(CONTENDERS), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        measured(asked.one)
        return
    names = [name for name in CONTENDERS if name != "duckdb" or _has_duckdb()]
    with (
        tempfile.TemporaryDirectory(prefix="millrace-bench-") as directory,
        embedded(Path(directory)) as stack,
    ):
        store = open_store(stack.settings)
        written = fill(store, asked.objects, asked.rows)
        print(f"{asked.objects} objects of {asked.rows:,} rows, {written / 1e6:.1f} MB")
        seconds: dict[str, list[float]] = {name: [] for name in names}
        memory: dict[str, float] = {}
        for _ in range(asked.rounds):
            for name in names:
                took, peak = _in_a_process(stack.settings, name)
                seconds[name].append(took)
                memory[name] = max(memory.get(name, 0), peak)
        _check(store, asked.objects, asked.rows)
        for name in names:
            took = median(seconds[name])
            ratio = took / median(seconds["ours"])
            print(f"{name:7} {took:6.2f} s  {ratio:5.2f} x ours  +{memory[name]:.0f} MB")


def _in_a_process(settings: Settings, name: str) -> tuple[float, float]:
    environment = {
        **os.environ,
        "MILLRACE_S3_ENDPOINT": settings.s3_endpoint or "",
        "MILLRACE_BUCKET": settings.bucket,
        "AWS_ACCESS_KEY_ID": settings.access_key or "",
        "AWS_SECRET_ACCESS_KEY": settings.secret_key or "",
    }
    done = subprocess.run(
        [sys.executable, "-m", "bench.fold", "--one", name],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    seconds, megabytes = done.stdout.split()
    return float(seconds), float(megabytes)


def _check(store: ObjectStore, objects: int, rows: int) -> None:
    key = published_key(DATASET.prefix, HOUR)
    hour = decode_hour(store.get(key).body, DATASET, key)
    expected = facts(objects - 1, rows).sort(DATASET.keys)
    if not hour.rows.drop("version").equals(expected):
        raise SystemExit("the published hour is not the newest of all facts")


def _has_duckdb() -> bool:
    from importlib.util import find_spec

    if find_spec("duckdb") is None:
        print("DuckDB is not here (.venv/bin/pip install duckdb); comparing without it")
        return False
    return True


if __name__ == "__main__":
    main()
