"""One stream on the stage: its driver, its feed, its supervision, its publishing, and whether it is right."""

from __future__ import annotations

import io
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq

from millrace.catalog import DatasetSpec, StreamSpec
from millrace.control.launcher import StreamHost
from millrace.control.layout import ControlObjectError, history_key
from millrace.control.outdated import config_of
from millrace.control.process import LauncherError, ProcessState
from millrace.control.reconcile import Reconciler
from millrace.control.status import DriverStatus, newest_status
from millrace.control.streamhost import log_file, stream_dir
from millrace.publish.codec import decode_hour
from millrace.publish.compact import compact_hours
from millrace.publish.due import due_hours
from millrace.settings import PROJECT_ROOT, Settings
from millrace.store import S3Store, StoreError, open_store
from tests.chaos.feeders import Feeder
from tests.chaos.journal import Commit, Journal, not_exactly_once
from tests.chaos.proxy import Request
from tests.families import family, jvms, signal_all

log = logging.getLogger(__name__)

FAR = datetime(2100, 1, 1, tzinfo=UTC)
"""A `now` by which every hour is due."""
RECOVERS_WITHIN = 240.0
TURN_EVERY = 1.0
PUBLISH_EVERY = 2.0


class NotAsItShouldBe(AssertionError):
    """What the chaos was to bring to light: it did not recover, or its numbers are wrong."""


class NumbersDiffer(NotAsItShouldBe):
    """Something was lost, doubled or committed twice: nothing that comes after it would prove anything."""


@dataclass(frozen=True)
class Published:
    etag: str
    status: str
    rows: dict[Any, tuple[Any, ...]]


class Lane:
    """Everything that concerns one stream. Threads run from `start` to `stop`."""

    def __init__(
        self,
        spec: StreamSpec,
        dataset: DatasetSpec,
        settings: Settings,
        environment: Callable[[str], Mapping[str, str]],
        feeder: Feeder,
        journal: Journal,
        *,
        supervised: bool = True,
    ) -> None:
        """`settings`: those of this process; `environment`: that of a driver which uses the given door."""
        self.spec, self.dataset, self.feeder, self.journal = spec, dataset, feeder, journal
        self.name = spec.name
        self.settings = settings
        self.store: S3Store = open_store(settings)
        self.host = StreamHost.of(settings)
        self.clock_error = timedelta(0)
        """How wrong supervision's wall clock is."""
        self._environment = environment
        self._elsewhere = False
        self._supervised = threading.Event()
        if supervised:
            self._supervised.set()
        self._publishing = threading.Lock()
        self._known: dict[int, Published] = {}
        self._closing = threading.Event()
        self._threads = [
            threading.Thread(target=self._every, args=(TURN_EVERY, self._turn), daemon=True),
            threading.Thread(target=self._every, args=(PUBLISH_EVERY, self._publish), daemon=True),
        ]
        self.actions: list[str] = []
        """What supervision did besides looking on."""

    def start(self) -> None:
        self.feeder.start()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._closing.set()
        self.feeder.stop()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(60)

    def owns(self, request: Request, door: str = "drivers") -> bool:
        """Whether it is a request by this door (the stream host's drivers have one) about this stream."""
        mine = {self.name, self.dataset.name, f"{self.name}.json"}
        return request.door == door and not mine.isdisjoint(request.key.split("/"))

    def pid(self) -> int:
        """The driver under the stream host. Raises NotAsItShouldBe when there is none."""
        found = self.host.state(self.name).pid
        if found is None:
            raise NotAsItShouldBe(f"{self.name}: no driver runs under the stream host")
        return found

    def family(self) -> list[psutil.Process]:
        """The driver, its JVM, its Python workers."""
        return family(self.pid())

    def jvm(self) -> psutil.Process:
        return jvms(self.family())[0]

    def status(self) -> DriverStatus | None:
        return newest_status(self.store, self.name)

    def log(self) -> str:
        return log_file(self.settings.home, self.name).read_text(errors="replace")

    def orders_file(self) -> Path:
        """See injected/sitecustomize.py."""
        return self.settings.home / "orders" / self.name

    def next_commit(self, after: float, within: float = RECOVERS_WITHIN) -> Commit:
        """The first micro-batch whose commit was begun after a moment."""
        found = self.journal.next_commit(self.name, after, within)
        if found is None:
            raise NotAsItShouldBe(
                f"{self.name}: no micro-batch was committed within {within:g} s\n{self.told()}"
            )
        return found

    def is_well_on(self) -> None:
        """Wait for two commits: with the second one begun, Spark's own log has the first."""
        first = self.next_commit(time.monotonic())
        self.next_commit(first.at)

    def wait_steady(self, within: float = RECOVERS_WITHIN) -> None:
        """Until the newest driver is the one under the stream host, and works."""
        deadline = time.monotonic() + within
        while not self._is_steady():
            if time.monotonic() > deadline:
                raise NotAsItShouldBe(f"{self.name}: no steady driver within {within:g} s\n{self.told()}")
            time.sleep(0.25)

    def _is_steady(self) -> bool:
        try:
            status, process = self.status(), self.host.state(self.name)
        except (StoreError, LauncherError):
            return False
        return (
            process.state is ProcessState.RUNNING
            and status is not None
            and (status.state, status.pid) == ("running", process.pid)
        )

    def told(self) -> str:
        """What a person wants to see when it did not come back."""
        try:
            process, status = str(self.host.state(self.name)), str(self.status())
        except (StoreError, LauncherError) as error:
            process = status = str(error)
        said = [line for line in self.log().splitlines() if "falling behind" not in line]
        lines = [process, status, *self.actions[-5:], *said[-25:]]
        return "\n".join(f"    {line}" for line in lines)

    def check(self, *, thorough: bool = False) -> None:
        """Let everything sent be counted and published; raise NotAsItShouldBe unless it is exactly right.

        `thorough`: also what was rejected, and what Kafka holds.
        """
        sent = self.feeder.pause()
        try:
            if not self.journal.wait_for_records(self.name, sent, RECOVERS_WITHIN):
                raise NotAsItShouldBe(f"{self.name}: {sent} records were not counted\n{self.told()}")
            self._settle()
            wrong = [*self._wrong_commits(), *self._wrong_rows()]
            if thorough:
                wrong += [*self._wrong_rejects(), *self.feeder.not_in_kafka()]
        finally:
            self.feeder.resume()
        if wrong:
            raise NumbersDiffer("\n".join([f"{self.name}: {len(wrong)} differences", *wrong[:40]]))

    def rows_checked(self) -> int:
        return sum(len(one.rows) for one in self._known.values())

    def forget_crashes(self) -> None:
        """An hour of faults one after the other is a crash loop, which host and supervision would slow down
        and give up: that is another test's matter."""
        (stream_dir(self.settings.home, self.name) / "lives.json").unlink(missing_ok=True)
        self.store.delete(history_key(self.name))

    @contextmanager
    def driver_by_hand(self, door: str, name: str = "second") -> Iterator[subprocess.Popen[bytes]]:
        """Another driver of this stream, on the same checkpoint, as a second host would start it."""
        spec = stream_dir(self.settings.home, self.name) / "spec.json"
        if not spec.exists():  # the stream host has not written it yet
            spec.parent.mkdir(parents=True, exist_ok=True)
            spec.write_text(json.dumps(config_of(self.spec)))
        command = [
            sys.executable,
            "-m",
            f"spark_apps.{self.spec.app}",
            "--spec",
            str(spec),
            "--revision",
            "1",
        ]
        with self.hand_log(name).open("ab") as output:
            process = subprocess.Popen(
                command,
                cwd=PROJECT_ROOT,
                env=dict(self._environment(door)),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            yield process
        finally:
            members = family(process.pid)
            signal_all(members, signal.SIGKILL)
            process.wait(30)
            psutil.wait_procs(members, timeout=10)

    def hand_log(self, name: str) -> Path:
        return self.settings.home / "logs" / f"{self.name}-{name}.log"

    def _every(self, seconds: float, work: Callable[[], None]) -> None:
        while not self._closing.wait(seconds):
            try:
                work()
            except (StoreError, LauncherError, ControlObjectError) as error:
                log.debug("%s: %s", self.name, error)
            except Exception:
                log.exception("%s: %s failed", self.name, work.__name__)

    def supervision_is_elsewhere(self) -> None:
        """From now on something else looks after the stream."""
        self._elsewhere = True
        self._supervised.clear()

    @contextmanager
    def unsupervised(self) -> Iterator[None]:
        """Nobody looks after the stream for the length of a block, as while Airflow is away."""
        self._supervised.clear()
        try:
            yield
        finally:
            if not self._elsewhere:
                self._supervised.set()

    def _turn(self) -> None:
        """As the operator in Airflow, only more often."""
        if not self._supervised.is_set():
            return
        turn = Reconciler(
            self.store,
            self.host,
            self.spec,
            who="chaos",
            clock=lambda: datetime.now(UTC) + self.clock_error,
        ).turn()
        if turn.action.is_order:
            self.actions.append(f"{datetime.now(UTC):%H:%M:%S} {turn.action.kind}: {turn.action.reason}")

    def _publish(self) -> None:
        with self._publishing:
            compact_hours(self.store, self.dataset, due_hours(self.store, self.dataset, FAR))

    def _settle(self) -> None:
        """Publish everything there is. Faults are over, so that any failure counts."""
        with self._publishing:
            done = compact_hours(self.store, self.dataset, due_hours(self.store, self.dataset, FAR))
        failed = [
            f"{one.hour:%d %Hh}: {one.error}" for one in done if one.outcome not in ("published", "unchanged")
        ]
        if failed:
            raise NotAsItShouldBe(f"{self.name}: not published: {'; '.join(failed)}")

    def _wrong_commits(self) -> list[str]:
        return not_exactly_once(self.journal.commits(self.name))

    def _wrong_rows(self) -> list[str]:
        self._read_published()
        truth = self.feeder.truth.rows()
        wrong = []
        for hour in sorted(truth.keys() | self._known.keys()):
            expected = truth.get(hour, {})
            found = self._known[hour].rows if hour in self._known else {}
            if expected == found:
                continue
            for key in sorted(expected.keys() | found.keys(), key=str):
                if expected.get(key) != found.get(key):
                    at = datetime.fromtimestamp(hour * 3600, UTC)
                    wrong.append(
                        f"{at:%Y-%m-%d %H}h {key}: published {found.get(key)}, the oracle {expected.get(key)}"
                    )
        sealed_before = self.journal.commits(self.name)[-1].manifest.sealed_before or 0
        wrong += [
            f"hour {hour} is sealed and published as {one.status}"
            for hour, one in sorted(self._known.items())
            if hour < sealed_before and one.status != "final"
        ]
        return wrong

    def _read_published(self) -> None:
        for info in self.store.list_objects(f"{self.dataset.prefix}/"):
            year, month, day, clock = info.key.split("/")[-5:-1]
            start = datetime(int(year), int(month), int(day), int(clock), tzinfo=UTC)
            hour = int(start.timestamp()) // 3600
            if hour in self._known and info.etag and self._known[hour].etag == info.etag:
                continue
            body = self.store.get(info.key).body
            rows = pq.read_table(io.BytesIO(body)).to_pylist()
            pairs = [self.feeder.truth.row_of(row) for row in rows]
            if len(dict(pairs)) != len(pairs):
                raise NumbersDiffer(f"{info.key} has a key twice")
            status = decode_hour(body, self.dataset, info.key).status
            self._known[hour] = Published(info.etag, status, dict(pairs))

    def _wrong_rejects(self) -> list[str]:
        numbers: list[int] = []
        for info in self.store.list_objects(f"rejected/{self.name}/"):
            body = self.store.get(info.key).body
            numbers += pq.read_table(io.BytesIO(body), columns=["offset"])["offset"].to_pylist()
        expected = self.feeder.truth.rejected()
        if set(numbers) == expected and len(numbers) == len(expected):
            return []
        return [
            f"rejected: {len(numbers)} rows of {len(set(numbers))} records, the oracle {len(expected)}; lost "
            f"{sorted(expected - set(numbers))[:5]}, too many {sorted(set(numbers) - expected)[:5]}"
        ]


def kill_group(pid: int) -> None:
    """SIGKILL to a driver's process group: its Python and its JVM."""
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
