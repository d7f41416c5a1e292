"""What two light streams take apart, and on one driver that they share: memory, and the time until both work.

    python -m bench.shared [--seconds 120]

`order_metrics` and `trending_hashtags` as the catalog has them, with their own feeds, under a stream host, on a real
Kafka and a real S3 server. Memory is the sum of proportional set sizes (PSS) of all that the stream host runs.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import psutil
import yaml

from bench.embedded import Embedded, embedded
from millrace.catalog import Catalog, load_catalog
from millrace.control.desired import DesiredState, write_desired
from millrace.control.launcher import StreamHost
from millrace.control.outdated import config_of
from millrace.control.status import DriverStatus, newest_status
from millrace.control.streamhost import command, socket_file, write_config
from millrace.kafka_topics import ensure_topics
from millrace.settings import PROJECT_ROOT
from millrace.store import open_store

NAMES = ("order_metrics", "trending_hashtags")


def main() -> None:
    """Run both ways and print a line each."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--seconds", type=float, default=120.0, help="of work before memory is read")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="mr-bench-", ignore_cleanup_errors=True) as directory,
        embedded(Path(directory)) as stack,
    ):
        for way, driver in (("apart", None), ("together", "light")):
            begun, memory, batches = measure(stack, way, driver, options.seconds)
            print(
                f"{way:8} {memory / 1e6:6,.0f} MB, both at work after {begun:.0f} s; median seconds of a micro-batch: "
                f"{', '.join(f'{name} {seconds:.2f}' for name, seconds in batches.items())}",
                flush=True,
            )


def measure(
    stack: Embedded, way: str, driver: str | None, seconds: float
) -> tuple[float, float, dict[str, float]]:
    """Seconds until both streams have committed, bytes after `seconds` of work, and the median micro-batch of each."""
    home = stack.directory / way
    catalog_dir, catalog = catalog_with(home, driver)
    ensure_topics(stack.kafka, catalog.topics)
    found = replace(stack.settings, home=home, prefix=way)
    environment = os.environ | {
        "MILLRACE_HOME": str(home),
        "MILLRACE_CATALOG": str(catalog_dir),
        "MILLRACE_KAFKA": stack.kafka,
        "MILLRACE_S3_ENDPOINT": found.s3_endpoint or "",
        "MILLRACE_BUCKET": found.bucket,
        "MILLRACE_PREFIX": way,
        "AWS_ACCESS_KEY_ID": found.access_key or "",
        "AWS_SECRET_ACCESS_KEY": found.secret_key or "",
    }
    config = write_config(found, catalog.streams.values())
    store, host = open_store(found), StreamHost(socket_file(home))
    with ExitStack() as ends:
        for name in NAMES:
            feed = [sys.executable, "-m", "millrace", "feed", "run", str(catalog.streams[name].feed)]
            ends.enter_context(stack.running(feed, environment))
        supervisord = psutil.Process(ends.enter_context(stack.running(command(config), environment)).pid)
        wait(lambda: socket_file(home).exists(), 30)
        at = time.monotonic()
        for name in NAMES:
            wanted = DesiredState(
                state="running",
                spec_revision=1,
                config=config_of(catalog.streams[name]),
                who="bench",
                why="to measure",
                at=datetime.now(UTC),
            )
            write_desired(store, name, wanted, replacing=None)
            host.start(name)

        def statuses() -> list[DriverStatus]:
            return [status for name in NAMES if (status := newest_status(store, name)) is not None]

        wait(lambda: sum(status.batches > 0 for status in statuses()) == len(NAMES), 180)
        begun = time.monotonic() - at
        time.sleep(seconds)
        memory = sum(one.memory_full_info().pss for one in supervisord.children(recursive=True))
        return begun, memory, {one.stream: one.batch_seconds_p50 or 0.0 for one in statuses()}


def catalog_with(home: Path, driver: str | None) -> tuple[Path, Catalog]:
    """The project's catalog; the two streams with this word in it."""
    directory = home / "catalog"
    directory.mkdir(parents=True)
    for file in (PROJECT_ROOT / "catalog").glob("*.yaml"):
        entries = yaml.safe_load(file.read_text())
        if file.name == "streams.yaml" and driver is not None:
            for name in NAMES:
                entries[name]["driver"] = driver
        (directory / file.name).write_text(yaml.safe_dump(entries, sort_keys=False))
    return directory, load_catalog(directory)


def wait(condition: Callable[[], object], within: float) -> None:
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("the streams did not begin in time")
        time.sleep(0.2)


if __name__ == "__main__":
    main()
