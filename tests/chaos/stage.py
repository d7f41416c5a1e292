"""Everything that can break, running: Kafka, an S3 server behind a fault proxy, a stream host, two streams."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import yaml

from millrace import settings
from millrace.catalog import load_catalog
from millrace.control.launcher import StreamHost
from millrace.control.process import HostUnavailable
from millrace.control.streamhost import command, write_config
from millrace.kafka_topics import ensure_topics
from millrace.local.jars import ensure_jars, jar_root
from millrace.local.kafka import KafkaServer
from millrace.local.marker import MARKER, end, processes_of
from millrace.local.ports import free_ports
from millrace.local.s3 import S3Server
from millrace.settings import PROJECT_ROOT, Settings
from millrace.store import open_store
from tests.chaos.airflow import Airflow
from tests.chaos.feeders import Feeder, OrdersTruth, StationsTruth, Truth
from tests.chaos.journal import Journal
from tests.chaos.lane import Lane
from tests.chaos.parts import Part, SmallDisk
from tests.chaos.proxy import FaultProxy

DOORS = ("drivers", "other", "control")
TRUTHS: dict[str, type[Truth]] = {"order_metrics": OrdersTruth, "station_hourly": StationsTruth}
RATES = {"order_metrics": 20.0, "station_hourly": 4.0}
"""Records per second: enough for a micro-batch at every trigger, little enough to leave the machine to the JVMs."""
INJECTED = Path(__file__).with_name("injected")


class Stage:
    """Use it as a context. What is left when it ends is ended; the directory stays when `keep` is set."""

    def __init__(
        self,
        streams: Sequence[str] = tuple(TRUTHS),
        *,
        seed: int = 1,
        hour_lasts: float = 60.0,
        supervised: bool = True,
        quick: bool = True,
    ) -> None:
        """`hour_lasts`: seconds of wall time for an hour of event time. Not `supervised`: nobody starts drivers.
        `quick`: with a trigger and a heartbeat of a second, else as the catalog says."""
        ensure_jars()
        # A short path: a unix socket's may have some 100 bytes.
        self.directory = Path(tempfile.mkdtemp(prefix="mr-chaos-"))
        self.home = self.directory / "home"
        (self.home / "logs").mkdir(parents=True)
        (self.home / "orders").mkdir()
        self.keep = False
        ports = free_ports(3)
        kafka = KafkaServer(self.directory / "kafka", ports[0], ports[1])
        s3 = S3Server(self.directory / "s3", ports[2], "millrace", "not-a-secret-only-for-tests")
        kafka.prepare()
        s3.prepare()
        logs = self.home / "logs"
        mark = {**os.environ, MARKER: str(self.home)}
        self.kafka = Part("Kafka", kafka.command, logs / "kafka.log", kafka.is_ready, mark)
        self.s3 = Part("the S3 server", s3.command, logs / "s3.log", s3.is_ready, mark)
        self.proxy = FaultProxy(ports[2], DOORS, seed)
        self.journal = Journal()
        self.proxy.witness(self.journal.note)
        self.disk = SmallDisk(self.home / "streams")
        self._bootstrap = kafka.bootstrap
        self._keys = {"AWS_ACCESS_KEY_ID": s3.access_key, "AWS_SECRET_ACCESS_KEY": s3.secret_key}
        self._streams, self._seed, self._hour_lasts = streams, seed, hour_lasts
        self._supervised, self._quick = supervised, quick
        self.lanes: list[Lane] = []
        self.airflow: Airflow | None = None

    def __enter__(self) -> Stage:
        try:
            self._begin()
        except BaseException:
            self.keep = True
            self._end()
            raise
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.keep |= kind is not None
        self._end()

    def _begin(self) -> None:
        self.proxy.start()
        self.kafka.start()
        self.s3.start()
        catalog_dir = self._write_catalog()
        found = self._settings("control")
        open_store(found).ensure_bucket()
        catalog = load_catalog(catalog_dir)
        ensure_topics(self._bootstrap, catalog.topics)
        config = write_config(found, catalog.streams.values())
        self.host = Part(
            "the stream host",
            lambda: command(config),
            self.home / "logs" / "host.log",
            self._host_answers,
            self.environment("drivers"),
        )
        self.host.start()
        for number, name in enumerate(self._streams):
            feeder = Feeder(
                self._bootstrap,
                catalog.streams[name].topic,
                TRUTHS[name](),
                seed=self._seed * 10 + number,
                rate=RATES[name],
                hour_lasts=self._hour_lasts,
            )
            lane = Lane(
                catalog.streams[name],
                catalog.dataset_of(name),
                found,
                self.environment,
                feeder,
                self.journal,
                supervised=self._supervised,
            )
            self.lanes.append(lane)
            lane.start()

    def _end(self) -> None:
        for lane in self.lanes:
            lane.stop()
        # A stream host that hears SIGTERM lets its drivers finish; here nobody waits for them.
        end(processes_of(self.home), patience=0.5)
        for part in (self.kafka, self.s3):
            with suppress(Exception):
                part.stop(5)
        self.proxy.stop()
        self.disk.remove()
        if not self.keep:
            shutil.rmtree(self.directory, ignore_errors=True)

    def supervise_with_airflow(self) -> None:
        """From now on a real Airflow looks after the streams."""
        self.airflow = Airflow(self.home, self._variables("control"))
        for lane in self.lanes:
            lane.supervision_is_elsewhere()
        self.airflow.start()

    def environment(self, door: str) -> Mapping[str, str]:
        """What a driver needs that uses this door to the store."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("MILLRACE_", "AWS_", "AIRFLOW"))
        }
        return {
            **kept,
            **self._variables(door),
            MARKER: str(self.home),
            "MILLRACE_JARS": str(jar_root()),
            "PYTHONPATH": os.pathsep.join([str(INJECTED), str(PROJECT_ROOT)]),
            "PYTHONUNBUFFERED": "1",
            "PYSPARK_PYTHON": sys.executable,
            "SPARK_LOCAL_IP": "127.0.0.1",
            "MALLOC_ARENA_MAX": "2",
            "CHAOS_ORDERS": str(self.home / "orders"),
            "TZ": "UTC",
        }

    def _variables(self, door: str) -> dict[str, str]:
        return {
            "MILLRACE_HOME": str(self.home),
            "MILLRACE_CATALOG": str(self.directory / "catalog"),
            "MILLRACE_KAFKA": self._bootstrap,
            "MILLRACE_S3_ENDPOINT": self.proxy.endpoint(door),
            "MILLRACE_BUCKET": "chaos",
            **self._keys,
        }

    def _settings(self, door: str) -> Settings:
        # Each dataset has one publisher here, so that If-Match never races: what landed may be deleted at
        # once, which loses more than waiting does, should any rule be wrong.
        return replace(settings.load(self._variables(door)), if_match="atomic")

    def _host_answers(self) -> bool:
        try:
            return bool(StreamHost.of(self._settings("control")).states())
        except HostUnavailable:
            return False

    def _write_catalog(self) -> Path:
        source, directory = PROJECT_ROOT / "catalog", self.directory / "catalog"
        directory.mkdir()
        entries = yaml.safe_load((source / "streams.yaml").read_text())
        datasets = yaml.safe_load((source / "datasets.yaml").read_text())
        topics = yaml.safe_load((source / "topics.yaml").read_text())
        streams = {}
        for name in self._streams:
            entry = entries[name]
            entry.pop("feed", None)
            quick = {"trigger": "1s", "heartbeat": "1s", "stop_within": "10s"}
            streams[name] = entry | (quick if self._quick else {})
        files = {
            "streams": streams,
            "topics": topics,
            "feeds": {},
            "datasets": {entry["dataset"]: datasets[entry["dataset"]] for entry in streams.values()},
        }
        for file, content in files.items():
            (directory / f"{file}.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
        return directory


class Complaints(logging.Handler):
    """What the project itself calls an error while chaos reigns: above all, two contents of one version."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if "different contents under one version" in record.getMessage():
            self.found.append(record.getMessage())
