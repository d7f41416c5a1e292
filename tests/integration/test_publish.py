"""Publishing on a real S3 server: racing publishers that are killed, late facts, readers, an outage."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from millrace import settings as millrace_settings
from millrace.catalog import DatasetSpec
from millrace.local.ports import free_ports
from millrace.local.s3 import S3Server
from millrace.publish.codec import decode_hour
from millrace.publish.compact import compact_hours
from millrace.publish.due import due_hours
from millrace.publish.fold import fold_hour
from millrace.publish.freshest import freshest_hour
from millrace.publish.generations import create_generation
from millrace.publish.landing import write_facts, write_seals
from millrace.publish.layout import landing_prefix, published_key
from millrace.publish.version import Version
from millrace.settings import Settings
from millrace.store import NotFound, ObjectStore, S3Store, StoreError, open_store
from tests.conftest import running, wait_until

pytestmark = pytest.mark.stack
HOUR = datetime(2026, 3, 29, 1, tzinfo=UTC)
DATASET = DatasetSpec(
    name="counts",
    prefix="counts",
    keys=["key"],
    columns={"key": "string", "n": "int64", "window_start": "timestamp"},
    writers=["counter"],
)
PUBLISHER = """
import sys
from millrace import settings
from millrace.publish.fold import fold_hour
from millrace.store import StoreError, open_store
from tests.integration.test_publish import DATASET, HOUR
store = open_store(settings.load())
print("ready", flush=True)
while True:
    try:
        fold_hour(store, DATASET, HOUR)
    except StoreError:
        pass
"""


def facts(totals: dict[str, int]) -> pl.DataFrame:
    return pl.DataFrame(
        {"key": list(totals), "n": list(totals.values()), "window_start": [HOUR] * len(totals)},
        schema={"key": pl.String, "n": pl.Int64, "window_start": pl.Datetime("us", "UTC")},
    )


def patiently(do: Callable[[], object], seconds: float = 60) -> None:
    """As drivers do: again while the store is away."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            do()
        except StoreError:
            assert time.monotonic() < deadline, "the store stays away"
            time.sleep(0.05)
        else:
            return


class Writer:
    """A driver's side: batches of complete totals, and what the newest of all facts is."""

    def __init__(self, store: ObjectStore, seed: int) -> None:
        self.store, self.rng = store, random.Random(seed)
        self.newest: dict[str, int] = {}
        self.batch = 0
        create_generation(store, DATASET.name, parent=None, first_complete_hour=None)

    def write(self, *, seal: bool = False) -> None:
        some = {f"k{self.rng.randrange(40)}": self.rng.randrange(1000) for _ in range(12)}
        version = Version(0, 1, self.batch)
        for part in range(2):
            rows = facts(
                {key: n for number, (key, n) in enumerate(sorted(some.items())) if number % 2 == part}
            )
            patiently(lambda rows=rows, part=part: write_facts(self.store, DATASET, rows, version, part))
        self.newest |= some
        if seal:
            patiently(lambda: write_seals(self.store, DATASET, "counter", [HOUR], version))
        self.batch += 1


def published(store: ObjectStore) -> dict[str, int]:
    key = published_key(DATASET.prefix, HOUR)
    rows = decode_hour(store.get(key).body, DATASET, key).rows
    return dict(rows.select("key", "n").iter_rows())


def wait_for_publication(store: ObjectStore, after: int) -> int:
    """Wait until a later revision than this is published; returns its number."""
    key = published_key(DATASET.prefix, HOUR)
    found = after

    def is_there() -> bool:
        nonlocal found
        with suppress(NotFound):
            found = decode_hour(store.get(key).body, DATASET, key).rev
        return found > after

    wait_until(is_there, 60, f"a publication after revision {after}")
    return found


class Reader(threading.Thread):
    """Reads the freshest totals all the time: never less than what was written before it looked."""

    def __init__(self, settings: Settings, writer: Writer) -> None:
        super().__init__(daemon=True)
        self.store, self.writer = open_store(settings), writer
        self.stop = threading.Event()
        self.reads, self.wrong = 0, []

    def run(self) -> None:
        while not self.stop.is_set():
            batches = self.writer.batch - 1
            try:
                hour = freshest_hour(self.store, DATASET, HOUR)
            except StoreError:
                continue
            self.reads += 1
            newest = max(hour.rows["version"].to_list(), default=-1)
            if batches >= 0 and newest < Version(0, 1, batches).packed():
                self.wrong.append(f"after batch {batches}: newest is {newest}")


def environment(settings: Settings) -> dict[str, str]:
    return os.environ | {
        "MILLRACE_HOME": str(settings.home),
        "MILLRACE_S3_ENDPOINT": str(settings.s3_endpoint),
        "MILLRACE_BUCKET": settings.bucket,
        "MILLRACE_PREFIX": settings.prefix,
        "MILLRACE_S3_IF_MATCH": settings.if_match,
        "AWS_ACCESS_KEY_ID": str(settings.access_key),
        "AWS_SECRET_ACCESS_KEY": str(settings.secret_key),
    }


class Publishers:
    """Processes that fold one hour again and again, each killed and begun anew at random."""

    def __init__(self, settings: Settings, count: int) -> None:
        self.settings = settings
        self.killed = 0
        self.running = [self._begin() for _ in range(count)]

    def _begin(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", PUBLISHER],
            env=environment(self.settings),
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
            text=True,
        )

    def wait_until_ready(self) -> None:
        for process in self.running:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"

    def kill_one(self, number: int) -> None:
        self.running[number].kill()
        self.running[number].wait()
        self.running[number] = self._begin()
        self.killed += 1

    def end(self) -> None:
        for process in self.running:
            process.kill()
            process.wait()


def test_racing_publishers_that_are_killed_at_random_lose_nothing_and_show_nothing_old(
    store_settings: Settings, store: S3Store
) -> None:
    rng = random.Random(7)
    writer = Writer(store, 7)
    publishers = Publishers(store_settings, 2)
    reader = Reader(store_settings, writer)
    seen = 0
    try:
        publishers.wait_until_ready()
        reader.start()
        for number in range(40):
            writer.write(seal=number % 10 == 9)
            if number % 8 == 7:
                # However slow the machine: something was published between any two kills.
                seen = wait_for_publication(store, after=seen)
                publishers.kill_one(rng.randrange(2))
    finally:
        reader.stop.set()
        publishers.end()
    reader.join(30)
    assert publishers.killed == 5
    assert reader.wrong == []
    result = fold_hour(store, DATASET, HOUR)
    assert result.status == "final", result
    assert published(store) == writer.newest
    writer.write()  # a late fact
    assert fold_hour(store, DATASET, HOUR).status == "amending"
    assert published(store) == writer.newest


@pytest.fixture
def own_server(tmp_path: Path, jars: None) -> tuple[S3Server, Settings]:
    """A server of the test's own, which it may stop."""
    server = S3Server(tmp_path / "s3", free_ports(1)[0], "millrace", "not-a-secret-only-for-tests")
    server.prepare()
    found = millrace_settings.load(
        {
            "MILLRACE_HOME": str(tmp_path / "home"),
            "MILLRACE_S3_ENDPOINT": server.endpoint,
            "MILLRACE_BUCKET": "millrace-tests",
            "AWS_ACCESS_KEY_ID": server.access_key,
            "AWS_SECRET_ACCESS_KEY": server.secret_key,
        }
    )
    return server, found


def test_the_s3_server_goes_away_in_the_middle_and_comes_back(
    own_server: tuple[S3Server, Settings], tmp_path: Path
) -> None:
    server, found = own_server
    log = tmp_path / "s3.log"
    store = open_store(found)
    with running(server.command(), log):
        wait_until(server.is_ready, 60, "the S3 server")
        store.ensure_bucket()
        writer = Writer(store, 3)
        publishers = Publishers(found, 2)
        publishers.wait_until_ready()
        for _ in range(6):
            writer.write()
    try:
        written = threading.Thread(target=lambda: writer.write(seal=True))
        written.start()  # while the server is away
        assert compact_hours(store, DATASET, [HOUR])[0].outcome == "failed"
        with running(server.command(), log):
            wait_until(server.is_ready, 60, "the S3 server")
            written.join(60)
            assert not written.is_alive()
            publishers.end()
            assert fold_hour(store, DATASET, HOUR).status == "final"
            assert published(store) == writer.newest
    finally:
        publishers.end()


def test_foreign_truncated_and_empty_objects_are_set_aside_and_their_hour_goes_on(store: S3Store) -> None:
    writer = Writer(store, 1)
    writer.write()
    landed = [info.key for info in store.list_objects(landing_prefix(DATASET.name))]
    writer.write()
    whole = store.get(landed[0]).body
    directory = landing_prefix(DATASET.name, HOUR)
    broken = {
        directory + "notes.txt": b"remember the milk",
        directory + "00000-00001-0000000008-00000-0123456789abcdef.parquet": b"",
        directory + "00000-00001-0000000007-00000-0123456789abcdef.parquet": whole[: len(whole) // 2],
    }
    for key, body in broken.items():
        store.put(key, body)
    assert due_hours(store, DATASET, HOUR + timedelta(days=1)) == [HOUR]
    result = fold_hour(store, DATASET, HOUR)
    assert result.set_aside == len(broken)
    assert published(store) == writer.newest
    kept = {info.key for info in store.list_objects("rejected/landing/")}
    for key in broken:
        moved = key.replace("landing/", "rejected/landing/", 1)
        assert {moved, f"{moved}.reason.json"} <= kept
