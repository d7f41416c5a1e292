"""`millrace run` as a person runs it, against a real socket, without Kafka and without an object store."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from millrace.catalog import load_catalog
from millrace.kafka_topics import ensure_topics
from millrace.local.jars import jar_root
from millrace.settings import PROJECT_ROOT
from tests.conftest import wait_until
from tests.integration.line_server import LineServer

pytestmark = pytest.mark.stack


class Run:
    """A `millrace run` process; its two outputs in files of their own."""

    def __init__(self, directory: Path, *arguments: str, **environment: str) -> None:
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MILLRACE_"))
        }
        self._out, self._err = directory / "out", directory / "err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "millrace", "run", *arguments],
                cwd=PROJECT_ROOT,
                env={
                    **kept,
                    "MILLRACE_HOME": str(directory / "home"),
                    "MILLRACE_JARS": str(jar_root()),
                    "MILLRACE_KAFKA": "127.0.0.1:9",
                    "LC_ALL": "C.UTF-8",
                    **environment,
                },
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def err(self) -> str:
        return self._err.read_text()

    def wait_for(self, text: str) -> None:
        def said() -> bool:
            assert self.process.poll() is None, self.err
            return text in self.out + self.err

        wait_until(said, 120, text)


@contextmanager
def run(directory: Path, *arguments: str, **environment: str) -> Iterator[Run]:
    started = Run(directory, *arguments, **environment)
    try:
        yield started
    finally:
        if started.process.poll() is None:
            started.process.kill()
        started.process.wait(30)


def counts(out: str) -> dict[str, int]:
    """The last table of running counts."""
    table = out.rpartition("running counts")[2].partition("batch counts")[0]
    return {word: int(count) for word, count in re.findall(r"^ *(\S+) +(\d+) *$", table, re.MULTILINE)}


def test_words_typed_into_nc_are_counted_until_ctrl_c(tmp_path: Path, jars: None) -> None:
    with LineServer() as server:
        source = f"socket://127.0.0.1:{server.port}"
        with run(
            tmp_path, "word_count", "--source", source, "--trigger", "300ms", "--option", "shown=4"
        ) as here:
            here.wait_for("they cannot be read again; every 300ms a micro-batch")
            server.accept()
            server.send(["hello 서울 hello".encode(), b"[/red] the"])
            here.wait_for("서울")
            server.send([b"the the the"])
            here.wait_for("lines 3")
            here.process.send_signal(signal.SIGINT)
            assert here.process.wait(60) == 0
    assert counts(here.out) == {"the": 4, "hello": 2, "[/red]": 1, "서울": 1}
    assert "jvm" not in here.err + here.out, "Spark's own words are in the log"
    assert "TextSocketSourceProvider" in (tmp_path / "home" / "logs" / "run-word_count.log").read_text()
    ended, following = here.err.splitlines()[-2:]
    assert re.fullmatch(
        r"millrace: word_count ended: \d micro-batches, 3 records, 0 of them rejected; nothing of it is kept",
        ended,
    )
    assert following.startswith(
        f"millrace: next: to keep such lines and read them again: `millrace feed lines {source[9:]}`"
    )
    assert "Traceback" not in here.err


def test_it_ends_with_the_connection_having_counted_everything(tmp_path: Path, jars: None) -> None:
    with LineServer() as server:
        source = f"socket://127.0.0.1:{server.port}"
        with run(tmp_path, "order_metrics", "--source", source, "--trigger", "300ms") as here:
            server.accept()
            server.send([b"2016-03-22 20:25:28,1,80,EPE,710,51.00,B"] * 2 + [b"nonsense"])
            server.hang_up()
            assert here.process.wait(120) == 0, here.err
    assert f"the server at {source} has closed the connection; what had come is counted" in here.err
    assert "3 records, 1 of them rejected" in here.err
    assert re.search(r"80 +36210\.00", here.out)
    assert re.search(r"2 +missing_fields +1 fields; an order has 7", here.out)


def test_nobody_there_is_one_line(tmp_path: Path, jars: None) -> None:
    with LineServer() as server:
        port = server.port
    with run(tmp_path, "word_count", "--source", f"socket://localhost:{port}") as here:
        assert here.process.wait(120) == 1
    assert here.err.splitlines()[-1] == (
        f"millrace: no connection to socket://localhost:{port}: Connection refused. Start the server, such as "
        f"`nc -lk {port}` on localhost"
    )
    assert "Traceback" not in here.err


def test_from_one_topic_to_another(tmp_path: Path, kafka: str) -> None:
    catalog_dir = tmp_path / "catalog"
    shutil.copytree(PROJECT_ROOT / "catalog", catalog_dir)
    texts, counted = (f"{name}_{os.getpid()}" for name in ("texts", "counted"))
    with (catalog_dir / "topics.yaml").open("a") as topics:
        topics.write(f"{texts}: {{}}\n{counted}: {{}}\n")
    ensure_topics(kafka, load_catalog(catalog_dir).topics)
    producer = Producer({"bootstrap.servers": kafka})
    for line in (b"to be or", b"not to be"):
        producer.produce(texts, line)
    producer.flush(10)
    arguments = ("--source", f"kafka://{texts}", "--sink", f"kafka://{counted}", "--sink", "console")
    with run(
        tmp_path, "word_count", *arguments, MILLRACE_KAFKA=kafka, MILLRACE_CATALOG=str(catalog_dir)
    ) as here:
        here.wait_for("lines 2, words 6")
        here.process.terminate()
        assert here.process.wait(60) == 0, here.err
    assert f"word_count reads topic {texts} from its beginning" in here.err
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": "reader", "enable.auto.commit": False})
    consumer.assign([TopicPartition(counted, 0, 0)])
    messages = consumer.consume(4, 30)
    consumer.close()
    assert {message.key().decode(): json.loads(message.value()) for message in messages} == {
        "be": {"count": 2},
        "not": {"count": 1},
        "or": {"count": 1},
        "to": {"count": 2},
    }
