"""`millrace run` as a person runs it, against a real socket, without Kafka and without an object store."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from millrace.local.jars import jar_root
from millrace.settings import PROJECT_ROOT
from tests.conftest import wait_until
from tests.integration.line_server import LineServer

pytestmark = pytest.mark.stack


class Run:
    """A `millrace run` process; its two outputs in files of their own."""

    def __init__(self, directory: Path, *arguments: str) -> None:
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
def run(directory: Path, *arguments: str) -> Iterator[Run]:
    started = Run(directory, *arguments)
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
