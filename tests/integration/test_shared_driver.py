"""Two streams on one shared driver, under a real stream host, Kafka and S3: exact, apart, and one JVM only."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from millrace.catalog import load_catalog
from millrace.control import exit_codes
from millrace.control.desired import DesiredState, load_desired, write_desired
from millrace.control.launcher import StreamHost
from millrace.control.outdated import config_of
from millrace.control.process import ProcessState
from millrace.control.status import DriverStatus
from millrace.control.streamhost import command, log_file, shared_program, socket_file, write_config
from millrace.settings import Settings
from millrace.store import open_store
from tests.conftest import running, wait_until
from tests.integration.control.stage import answers
from tests.integration.crowd import as_arrived, posts_of_a_crowd
from tests.integration.streams import StreamUnderTest, compact, make_stream, published_rows
from tests.integration.test_order_stream import SUMS, market, row_key
from tests.oracles.orders import book_of
from tests.oracles.posts import posts_of, tags_by_hour

pytestmark = pytest.mark.stack
NAMES = ("order_metrics", "trending_hashtags")
SHARED = shared_program("light")
WITHIN = 180.0


@dataclass
class Pair:
    """Two streams of one catalog under one stream host, and ways to look at them."""

    host: StreamHost
    supervisord: psutil.Process
    orders: StreamUnderTest
    posts: StreamUnderTest

    def deploy(self, stream: StreamUnderTest, state: str, revision: int) -> None:
        store = open_store(stream.settings)
        current = load_desired(store, stream.name)
        config = config_of(stream.catalog.streams[stream.name])
        wanted = DesiredState(
            state=state,  # type: ignore[arg-type]
            spec_revision=revision,
            config=config,
            who="a test",
            why="to see",
            at=datetime.now(UTC),
        )
        write_desired(store, stream.name, wanted, replacing=current.etag if current else None)

    def offset(self, stream: StreamUnderTest) -> int:
        manifest = stream.manifest()
        return sum(manifest.offsets.values()) if manifest is not None else 0

    def reach(self, stream: StreamUnderTest, offset: int) -> None:
        self.until(lambda: self.offset(stream) >= offset, f"{stream.name} to reach offset {offset}")

    def until(self, condition: Callable[[], object], what: str) -> None:
        try:
            wait_until(condition, WITHIN, what, every=0.2)
        except pytest.fail.Exception as failure:
            logs = [log_file(self.orders.settings.home, name) for name in (SHARED, *NAMES)]
            tails = "\n".join(path.read_text()[-2500:] for path in logs if path.exists())
            raise AssertionError(f"{failure}\n{self.host.states()}\n{tails}") from None

    def running(self, stream: StreamUnderTest) -> DriverStatus:
        """The status of the driver that runs, once the host's process is the one that it speaks of."""
        found: list[DriverStatus] = []

        def speaks() -> bool:
            status = stream.status()
            if status is None or status.state != "running":
                return False
            found[:] = [status]
            return status.pid == self.host.state(stream.name).pid

        self.until(speaks, f"{stream.name} to run")
        return found[0]

    def jvm(self) -> int:
        """The process id of the one JVM below the stream host."""
        family = {one.pid for one in self.supervisord.children(recursive=True)}
        # process_iter leaves out those that end meanwhile, such as the shell that becomes the JVM.
        (found,) = [
            one.pid
            for one in psutil.process_iter(["name"])
            if one.pid in family and one.info["name"] == "java"
        ]
        return found


@contextmanager
def short_home() -> Iterator[Path]:
    """A unix socket's path may have some 100 bytes, and pytest's directories are long."""
    home = Path(tempfile.mkdtemp(prefix="millrace-"))
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


def one_catalog(directory: Path, streams: list[StreamUnderTest]) -> Path:
    """The streams' catalogs in one."""
    joined = directory / "joined"
    joined.mkdir()
    for file in ("streams", "topics", "feeds", "datasets"):
        content: dict[str, Any] = {}
        for stream in streams:
            content |= yaml.safe_load((stream.catalog_dir / f"{file}.yaml").read_text())
        (joined / f"{file}.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return joined


@pytest.fixture
def pair(tmp_path: Path, store_settings: Settings, kafka: str) -> Iterator[Pair]:
    with short_home() as home, pytest.MonkeyPatch.context() as patch:
        here = replace(store_settings, home=home, kafka=kafka)
        streams = []
        for name in NAMES:
            (tmp_path / name).mkdir()
            changes = {"driver": "light", "max_messages_per_batch": 50}
            streams.append(make_stream(tmp_path / name, here, kafka, name, **changes))
        catalog_dir = one_catalog(tmp_path, streams)
        catalog = load_catalog(catalog_dir)
        orders, posts = (replace(one, catalog_dir=catalog_dir, catalog=catalog) for one in streams)
        for name, value in orders.environment.items():
            patch.setenv(name, value)
        host = StreamHost(socket_file(home))
        config = write_config(here, catalog.streams.values())
        with running(command(config), tmp_path / "supervisord.log") as process:
            wait_until(lambda: answers(host), 15, "supervisord to answer")
            below = psutil.Process(process.pid)
            try:
                yield Pair(host, below, orders, posts)
            finally:
                family = below.children(recursive=True)
                below.terminate()  # first: what is shutting down starts nothing again
                for child in family:
                    with suppress(psutil.Error):
                        child.kill()


def test_two_streams_on_one_jvm_are_exact_and_live_and_die_apart_until_it_dies(pair: Pair) -> None:
    orders, posts = pair.orders, pair.posts
    lines, made = market(5, 400), posts_of_a_crowd(5, 400)
    arrived = int(time.time() * 1000)
    parts = [slice(len(made) * n // 4, len(made) * (n + 1) // 4) for n in range(4)]
    third = len(lines) // 3
    for stream in (orders, posts):
        pair.deploy(stream, "running", 1)
        pair.host.start(stream.name)
    orders.send((None, line) for line in lines[:third])
    posts.send(made[parts[0]])
    pair.reach(orders, third)
    pair.reach(posts, parts[0].stop)
    jvm = pair.jvm()
    handle = psutil.Process(pair.running(orders).pid)
    assert "millrace.control.handle" in handle.cmdline()
    assert handle.memory_info().rss < 40e6, "a handle costs next to nothing"

    # One is stopped and started again; the other goes on meanwhile, in the same JVM.
    before = pair.running(posts)
    pair.host.stop(orders.name, timedelta(seconds=60))
    assert pair.host.state(orders.name).state is ProcessState.STOPPED
    ended = orders.status()
    assert ended is not None
    assert (ended.state, ended.exit_code) == ("stopped", exit_codes.STOPPED)
    orders.send((None, line) for line in lines[third : 2 * third])
    posts.send(made[parts[1]])
    pair.reach(posts, parts[1].stop)
    assert pair.offset(orders) == third
    pair.host.start(orders.name)
    pair.reach(orders, 2 * third)
    assert (pair.running(posts).driver_epoch, pair.jvm()) == (before.driver_epoch, jvm)

    # A handle that is killed ends its stream, and the host starts both again: no second one beside it.
    posts.send(made[parts[2]])
    os.kill(pair.running(posts).pid, signal.SIGKILL)
    pair.reach(posts, parts[2].stop)
    assert pair.running(posts).driver_epoch == before.driver_epoch + 1
    assert pair.jvm() == jvm

    # Its JVM dies, or all of it: both come back by themselves, in a new JVM that they share again.
    orders.send((None, line) for line in lines[2 * third : 2 * third + 50])
    os.kill(jvm, signal.SIGKILL)
    pair.reach(orders, 2 * third + 50)
    assert pair.running(posts).driver_epoch > before.driver_epoch + 1
    second_jvm, shared = pair.jvm(), pair.host.state(SHARED).pid
    assert shared is not None
    orders.send((None, line) for line in lines[2 * third + 50 :])
    orders.send([(b"end_of_input", b"")])
    os.kill(shared, signal.SIGKILL)
    posts.send(made[parts[3]])
    pair.reach(orders, len(lines) + 1)
    pair.reach(posts, len(made))
    assert pair.host.state(SHARED).pid != shared
    pair.until(lambda: not psutil.pid_exists(second_jvm), "the JVM that lost its Python to be gone")
    assert pair.jvm() not in (jvm, second_jvm)

    # The last one is stopped in the store, as Airflow does it.
    for stream in (orders, posts):
        pair.deploy(stream, "stopped", 2)
        pair.until(
            lambda name=stream.name: pair.host.state(name).exit_code == exit_codes.STOPPED,
            f"{stream.name} to stop",
        )
        compact(stream)
    rows, states = published_rows(orders)
    book = book_of([(line, arrived) for line in lines], late_by=3600)
    assert {row_key(row): tuple(row[name] for name in SUMS) for row in rows} == book.rows
    assert states == {"final"}
    rows, states = published_rows(posts)
    assert {
        (row["source"], row["tag"], int(row["window_start"].timestamp()) // 3600): (row["posts"], row["uses"])
        for row in rows
    } == tags_by_hour(posts_of(as_arrived(made), late_by=600))
    assert states == {"final"}
