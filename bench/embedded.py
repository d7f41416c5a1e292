"""A Kafka and an S3 server for a benchmark, on free ports in a directory of its own, and drivers on them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import yaml

from millrace import settings
from millrace.local.jars import ensure_jars
from millrace.local.kafka import KafkaServer
from millrace.local.ports import free_ports
from millrace.local.s3 import S3Server
from millrace.settings import PROJECT_ROOT, Settings
from millrace.store import open_store


@dataclass
class Embedded:
    """The running servers and where their driver's catalog and home go."""

    directory: Path
    kafka: str
    settings: Settings
    log: IO[bytes]

    def stream_name(self, topic: str) -> str:
        return f"stream_{topic}"

    def environment(self, topic: str, like: str = "station_hourly", **changes: object) -> dict[str, str]:
        """Environment of a driver like one of the catalog's on this topic, with its own catalog and home."""
        catalog = self.directory / topic / "catalog"
        catalog.mkdir(parents=True, exist_ok=True)
        entry = yaml.safe_load((PROJECT_ROOT / "catalog" / "streams.yaml").read_text())[like]
        kind = entry["dataset"]
        dataset = yaml.safe_load((PROJECT_ROOT / "catalog" / "datasets.yaml").read_text())[kind]
        name = self.stream_name(topic)
        entry |= {"source": f"kafka://{topic}", "sinks": ["facts", "live"], **changes}
        entry.pop("feed", None)
        (catalog / "streams.yaml").write_text(yaml.safe_dump({name: entry}))
        (catalog / "topics.yaml").write_text(yaml.safe_dump({topic: {}}))
        (catalog / "datasets.yaml").write_text(
            yaml.safe_dump({kind: dataset | {"writers": [name]}}, sort_keys=False)
        )
        (catalog / "feeds.yaml").write_text("{}")
        found = self.settings
        return {
            **os.environ,
            "MILLRACE_HOME": str(self.directory / topic / "home"),
            "MILLRACE_CATALOG": str(catalog),
            "MILLRACE_KAFKA": self.kafka,
            "MILLRACE_S3_ENDPOINT": found.s3_endpoint or "",
            "MILLRACE_BUCKET": found.bucket,
            "AWS_ACCESS_KEY_ID": found.access_key or "",
            "AWS_SECRET_ACCESS_KEY": found.secret_key or "",
            "MILLRACE_BENCH_STREAM": name,
            "MILLRACE_BENCH_APP": entry["app"],
        }

    @contextmanager
    def driver(self, environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
        """A real driver for the length of a block."""
        command = [
            sys.executable,
            "-m",
            f"spark_apps.{environment['MILLRACE_BENCH_APP']}",
            "--stream",
            environment["MILLRACE_BENCH_STREAM"],
        ]
        with self.running(command, environment) as process:
            yield process

    @contextmanager
    def running(self, command: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
        """A program for the length of a block, ended with SIGTERM; what it says goes to the log."""
        process = subprocess.Popen(
            command,
            cwd=PROJECT_ROOT,
            env=environment,
            stdout=self.log,
            stderr=self.log,
            stdin=subprocess.DEVNULL,
        )
        try:
            yield process
        finally:
            process.terminate()
            process.wait(200)  # a stream host lets its drivers finish


@contextmanager
def embedded(directory: Path) -> Iterator[Embedded]:
    """Start both servers; stop them at the end."""
    ensure_jars()
    ports = free_ports(3)
    kafka = KafkaServer(directory / "kafka", ports[0], ports[1])
    s3 = S3Server(directory / "s3", ports[2], "bench", "bench-secret-of-no-worth")
    with (directory / "bench.log").open("ab") as log:
        running = []
        for server in (kafka, s3):
            server.prepare()
            running.append(
                subprocess.Popen(server.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            )
        try:
            deadline = time.monotonic() + 60
            while not (kafka.is_ready() and s3.is_ready()):
                if time.monotonic() > deadline:
                    raise TimeoutError(f"Kafka or the S3 server did not start; see {directory / 'bench.log'}")
                time.sleep(0.1)
            found = settings.load(
                {
                    "MILLRACE_S3_ENDPOINT": s3.endpoint,
                    "MILLRACE_BUCKET": "bench",
                    "AWS_ACCESS_KEY_ID": s3.access_key,
                    "AWS_SECRET_ACCESS_KEY": s3.secret_key,
                }
            )
            open_store(found).ensure_bucket()
            yield Embedded(directory, kafka.bootstrap, found, log)
        finally:
            for process in reversed(running):
                process.terminate()
                process.wait(30)
