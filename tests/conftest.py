"""Real parts for tests, started once per session on free ports: a Kafka broker, an S3 server; fresh stores."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import settings as hypothesis_settings
from xdist.remote import Producer

from millrace import settings
from millrace.local.jars import ensure_jars
from millrace.local.kafka import KafkaServer
from millrace.local.ports import free_ports
from millrace.local.s3 import S3Server
from millrace.settings import Settings
from millrace.store import S3Store, open_store
from tests.side_by_side import ByFileOrMachine

_numbers = itertools.count(1)

SLOW_MACHINE = 3
"""How many times longer anything may take where two cores are worth less, or are shared with strangers."""

# How long one example takes says more about the machine than about the code.
hypothesis_settings.register_profile("millrace", deadline=None)
hypothesis_settings.load_profile("millrace")

# What a shell starts in the background ignores Ctrl-C, and so does all that is started from there.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByFileOrMachine:
    return ByFileOrMachine(config, log)


def wait_until(condition: Callable[[], object], timeout: float, what: str, every: float = 0.05) -> None:
    """Poll until the condition is true; fail naming what was waited for. `timeout`: seconds that are ample on a
    machine of ordinary speed; `every`: seconds between looks."""
    patience = timeout * SLOW_MACHINE
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {patience:g} s in vain for {what}")
        time.sleep(every)


@contextmanager
def running(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process for the length of a block; ended with SIGTERM, after 10 s with SIGKILL."""
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture(scope="session")
def jars() -> None:
    """The locked jars, fetched when they are not there yet."""
    ensure_jars()


@pytest.fixture(scope="session")
def kafka(jars: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Bootstrap servers of a real broker; every test makes topics of its own."""
    directory = tmp_path_factory.mktemp("kafka")
    server = KafkaServer(directory, *free_ports(2))
    server.prepare()
    with running(server.command(), directory / "kafka.log") as process:
        wait_until(lambda: server.is_ready() or process.poll() is not None, 60, "Kafka to start")
        assert process.poll() is None, (directory / "kafka.log").read_text()
        yield server.bootstrap


@pytest.fixture(scope="session")
def s3_settings(jars: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings of a real S3 server, with their bucket made."""
    directory = tmp_path_factory.mktemp("s3")
    (port,) = free_ports(1)
    server = S3Server(directory, port, "millrace", "not-a-secret-only-for-tests")
    server.prepare()
    with running(server.command(), directory / "s3.log") as process:
        wait_until(lambda: server.is_ready() or process.poll() is not None, 60, "the S3 server to start")
        assert process.poll() is None, (directory / "s3.log").read_text()
        found = settings.load(
            {
                "MILLRACE_HOME": str(directory / "home"),
                "MILLRACE_S3_ENDPOINT": server.endpoint,
                "MILLRACE_BUCKET": "millrace-tests",
                "AWS_ACCESS_KEY_ID": server.access_key,
                "AWS_SECRET_ACCESS_KEY": server.secret_key,
            }
        )
        open_store(found).ensure_bucket()
        yield found


@pytest.fixture
def store_settings(s3_settings: Settings, tmp_path: Path) -> Settings:
    """Settings of the S3 server with a prefix and a home directory of the test's own."""
    return replace(s3_settings, prefix=f"test-{os.getpid()}-{next(_numbers)}", home=tmp_path / "home")


@pytest.fixture
def store(store_settings: Settings) -> S3Store:
    """A fresh, empty store on the real S3 server."""
    return open_store(store_settings)
