"""Running a real driver in tests: a catalog of its own, messages in a real topic, the driver as a process."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import yaml
from confluent_kafka import Producer

from millrace.catalog import Catalog, DatasetSpec, load_catalog
from millrace.control.status import DriverStatus, newest_status
from millrace.kafka_access import Kafka, librdkafka
from millrace.kafka_topics import ensure_topics
from millrace.local.jars import jar_root
from millrace.publish.codec import decode_hour
from millrace.publish.compact import compact_hours
from millrace.publish.due import due_hours
from millrace.settings import PROJECT_ROOT, Settings
from millrace.store import ObjectStore, open_store
from spark_apps.runtime.carried_state import Manifest, newest_manifest
from tests.conftest import wait_until
from tests.families import family, jvms, signal_all

REJECTED = ["topic", "partition", "offset", "timestamp", "key", "value", "reason", "detail"]


@dataclass
class StreamUnderTest:
    """A stream with a topic, a home and a store of its own."""

    name: str
    settings: Settings
    kafka: Kafka
    catalog_dir: Path
    catalog: Catalog

    @property
    def topic(self) -> str:
        return self.catalog.streams[self.name].topic

    @property
    def environment(self) -> dict[str, str]:
        found = self.settings
        return {
            **{
                name: value
                for name, value in os.environ.items()
                if not name.startswith(("MILLRACE_", "AWS_"))
            },
            "MILLRACE_JARS": str(jar_root()),
            "MILLRACE_HOME": str(found.home),
            "MILLRACE_CATALOG": str(self.catalog_dir),
            "MILLRACE_KAFKA": str(self.kafka),
            "MILLRACE_S3_ENDPOINT": found.s3_endpoint or "",
            "MILLRACE_BUCKET": found.bucket,
            "MILLRACE_PREFIX": found.prefix,
            "AWS_ACCESS_KEY_ID": found.access_key or "",
            "AWS_SECRET_ACCESS_KEY": found.secret_key or "",
        }

    def send(self, records: Iterable[tuple[bytes | None, bytes]]) -> None:
        """Produce (key, value) records in order, acknowledged."""
        producer = Producer(
            {**librdkafka(self.kafka), "enable.idempotence": True, "compression.type": "zstd"}
        )
        for key, value in records:
            producer.produce(self.topic, key=key, value=value)
            producer.poll(0)
        assert producer.flush(30) == 0

    @contextmanager
    def driver(self, cwd: Path = PROJECT_ROOT, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
        """A driver process for the length of a block; whatever is left of it is killed at the end.

        `cwd`: the project tree whose app it is; `environment`: what it gets besides the stream's own.
        """
        self.settings.home.mkdir(parents=True, exist_ok=True)
        with (self.settings.home / "driver.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", f"spark_apps.{self.catalog.streams[self.name].app}"],
                cwd=cwd,
                env=self.environment | environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            yield process
        finally:
            members = family(process.pid)
            signal_all(members, signal.SIGKILL)
            process.wait(30)
            psutil.wait_procs(members, timeout=10)

    def log(self) -> str:
        return (self.settings.home / "driver.log").read_text(errors="replace")

    def status(self) -> DriverStatus | None:
        return newest_status(open_store(self.settings), self.name)

    def manifest(self) -> Manifest | None:
        return newest_manifest(open_store(self.settings), self.name)

    def wait_for_offset(self, offset: int, process: subprocess.Popen[bytes], timeout: float = 240) -> None:
        """Until the stream's committed state holds the topic up to an offset."""

        def reached() -> bool:
            assert process.poll() is None, (
                f"the driver ended with {process.returncode}:\n{self.log()[-3000:]}"
            )
            manifest = self.manifest()
            return manifest is not None and sum(manifest.offsets.values()) >= offset

        wait_until(reached, timeout, f"the stream to reach offset {offset}", every=0.2)


def make_stream(
    directory: Path, settings: Settings, kafka: Kafka, name: str = "station_hourly", **changes: object
) -> StreamUnderTest:
    """A catalog with one stream of the project's, its topics under other names, and the given changes."""
    catalog_dir = directory / "catalog"
    catalog_dir.mkdir()
    source = PROJECT_ROOT / "catalog"
    own = f"{os.getpid()}_{directory.name.replace('-', '_').lower()}"
    entry = yaml.safe_load((source / "streams.yaml").read_text())[name]
    entry.pop("feed", None)
    topics = {}
    for place in ("source", *range(len(entry.get("sinks", [])))):
        word = entry[place] if place == "source" else entry["sinks"][place]
        if word.startswith("kafka://"):
            topic = f"{word.removeprefix('kafka://')}_{own}"
            topics[topic] = {"partitions": 1}
            (entry if place == "source" else entry["sinks"])[place] = f"kafka://{topic}"
    entry |= {"trigger": "0ms", "heartbeat": "500ms", **changes}
    datasets = yaml.safe_load((source / "datasets.yaml").read_text())
    files = {
        "streams": {name: entry},
        "topics": topics,
        "feeds": {},
        "datasets": {entry["dataset"]: datasets[entry["dataset"]]} if "dataset" in entry else {},
    }
    for file, content in files.items():
        (catalog_dir / f"{file}.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    catalog = load_catalog(catalog_dir)
    if topics:
        ensure_topics(kafka, catalog.topics)
    return StreamUnderTest(name, settings, kafka, catalog_dir, catalog)


def compact(stream: StreamUnderTest) -> None:
    """Publish every hour of the stream's dataset that is due."""
    store, dataset = open_store(stream.settings), stream.catalog.dataset_of(stream.name)
    results = compact_hours(store, dataset, due_hours(store, dataset, datetime.now(UTC)))
    assert {result.outcome for result in results} <= {"published", "unchanged"}


def published_rows(stream: StreamUnderTest) -> tuple[list[dict[str, object]], set[str]]:
    """Every published row, by an ordinary Parquet reader, and the states of the hours."""
    return rows_in(open_store(stream.settings), stream.catalog.dataset_of(stream.name))


def rows_in(store: ObjectStore, dataset: DatasetSpec) -> tuple[list[dict[str, object]], set[str]]:
    """Every published row of a dataset, and the states of its hours."""
    rows: list[dict[str, object]] = []
    states = set()
    for info in store.list_objects(f"{dataset.prefix}/"):
        body = store.get(info.key).body
        states.add(decode_hour(body, dataset, info.key).status)
        for row in pq.read_table(io.BytesIO(body)).to_pylist():
            assert f"{row['window_start']:%Y/%m/%d/%H}" in info.key
            rows.append(row)
    return rows, states


def kill(process: subprocess.Popen[bytes], what: str) -> None:
    """SIGKILL `all of it`, `its Python` or `its JVM`; the rest must end by itself."""
    members = family(process.pid)
    victims = {"all of it": members, "its Python": members[:1], "its JVM": jvms(members)}[what]
    assert victims
    signal_all(victims, signal.SIGKILL)
    assert process.wait(60) != 0
    _, alive = psutil.wait_procs(members, timeout=60)
    assert not alive, "a driver that lost its other half must end by itself"


def rejected_rows(stream: StreamUnderTest) -> list[dict[str, object]]:
    """What the stream could not use: the rows of its objects in rejected/."""
    store = open_store(stream.settings)
    rows: list[dict[str, object]] = []
    for info in store.list_objects(f"rejected/{stream.name}/"):
        table = pq.read_table(io.BytesIO(store.get(info.key).body))
        assert table.column_names == REJECTED
        rows += table.to_pylist()
    return rows


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
