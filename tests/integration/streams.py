"""Running a real driver in tests: a catalog of its own, messages in a real topic, the driver as a process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import yaml
from confluent_kafka import Producer

from millrace.catalog import Catalog, load_catalog
from millrace.control.status import DriverStatus, newest_status
from millrace.kafka_topics import ensure_topics
from millrace.settings import PROJECT_ROOT, Settings
from millrace.store import open_store
from spark_apps.runtime.carried_state import Manifest, newest_manifest
from tests.conftest import wait_until


@dataclass
class StreamUnderTest:
    """station_hourly with a topic, a home and a store of its own."""

    settings: Settings
    kafka: str
    catalog_dir: Path
    catalog: Catalog

    @property
    def topic(self) -> str:
        return self.catalog.streams["station_hourly"].topic

    @property
    def environment(self) -> dict[str, str]:
        found = self.settings
        return {
            **{
                name: value
                for name, value in os.environ.items()
                if not name.startswith(("MILLRACE_", "AWS_"))
            },
            **({"MILLRACE_JARS": os.environ["MILLRACE_JARS"]} if "MILLRACE_JARS" in os.environ else {}),
            "MILLRACE_HOME": str(found.home),
            "MILLRACE_CATALOG": str(self.catalog_dir),
            "MILLRACE_KAFKA": self.kafka,
            "MILLRACE_S3_ENDPOINT": found.s3_endpoint or "",
            "MILLRACE_BUCKET": found.bucket,
            "MILLRACE_PREFIX": found.prefix,
            "AWS_ACCESS_KEY_ID": found.access_key or "",
            "AWS_SECRET_ACCESS_KEY": found.secret_key or "",
        }

    def send(self, records: Iterable[tuple[bytes, bytes]]) -> None:
        """Produce (key, value) records in order, acknowledged."""
        producer = Producer(
            {"bootstrap.servers": self.kafka, "enable.idempotence": True, "compression.type": "zstd"}
        )
        for key, value in records:
            producer.produce(self.topic, key=key, value=value)
            producer.poll(0)
        assert producer.flush(30) == 0

    @contextmanager
    def driver(self) -> Iterator[subprocess.Popen[bytes]]:
        """A driver process for the length of a block; whatever is left of it is killed at the end."""
        self.settings.home.mkdir(parents=True, exist_ok=True)
        with (self.settings.home / "driver.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "spark_apps.station_hourly"],
                cwd=PROJECT_ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            yield process
        finally:
            family = _family(process.pid)
            for member in family:
                _kill(member)
            process.wait(30)
            psutil.wait_procs(family, timeout=10)

    def log(self) -> str:
        return (self.settings.home / "driver.log").read_text(errors="replace")

    def status(self) -> DriverStatus | None:
        return newest_status(open_store(self.settings), "station_hourly")

    def manifest(self) -> Manifest | None:
        return newest_manifest(open_store(self.settings), "station_hourly")

    def wait_for_offset(self, offset: int, process: subprocess.Popen[bytes], timeout: float = 240) -> None:
        """Until the stream's committed state holds the topic up to an offset."""

        def reached() -> bool:
            assert process.poll() is None, (
                f"the driver ended with {process.returncode}:\n{self.log()[-3000:]}"
            )
            manifest = self.manifest()
            return manifest is not None and sum(manifest.offsets.values()) >= offset

        wait_until(reached, timeout, f"the stream to reach offset {offset}", every=0.2)


def make_stream(directory: Path, settings: Settings, kafka: str, **changes: object) -> StreamUnderTest:
    """A catalog like the project's with another topic and, for the stream, the given changes."""
    catalog_dir = directory / "catalog"
    catalog_dir.mkdir()
    source = PROJECT_ROOT / "catalog"
    topic = f"polls_{os.getpid()}_{directory.name.replace('-', '_').lower()}"
    streams = yaml.safe_load((source / "streams.yaml").read_text())
    streams["station_hourly"] |= {
        "source": f"kafka://{topic}",
        "trigger": "0ms",
        "heartbeat": "500ms",
        **changes,
    }
    (catalog_dir / "streams.yaml").write_text(yaml.safe_dump({"station_hourly": streams["station_hourly"]}))
    (catalog_dir / "topics.yaml").write_text(yaml.safe_dump({topic: {"partitions": 1}}))
    (catalog_dir / "feeds.yaml").write_text("{}")
    datasets = yaml.safe_load((source / "datasets.yaml").read_text())
    (catalog_dir / "datasets.yaml").write_text(
        yaml.safe_dump({"hourly_summary": datasets["hourly_summary"]}, sort_keys=False)
    )
    catalog = load_catalog(catalog_dir)
    ensure_topics(kafka, catalog.topics)
    return StreamUnderTest(settings, kafka, catalog_dir, catalog)


def poll(system: str, observed_at: int, stations: Iterable[tuple[str, int]]) -> tuple[bytes, bytes]:
    """One poll as a Kafka record."""
    envelope = {
        "schema": 1,
        "kind": "poll",
        "system_id": system,
        "observed_at": observed_at,
        "fetched_at": observed_at,
        "page": 0,
        "pages": 1,
        "stations": [{"station_id": name, "bikes": bikes} for name, bikes in stations],
    }
    return system.encode(), json.dumps(envelope).encode()


def end_of_input(system: str, observed_at: int) -> tuple[bytes, bytes]:
    """The mark after which a system sends no more."""
    envelope = {"schema": 1, "kind": "end_of_input", "system_id": system, "observed_at": observed_at}
    return system.encode(), json.dumps(envelope).encode()


def _family(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _kill(process: psutil.Process) -> None:
    with suppress(psutil.NoSuchProcess):
        process.send_signal(signal.SIGKILL)
