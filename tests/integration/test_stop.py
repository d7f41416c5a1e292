"""Stopping a real driver through a real stream host: every deadline, and nothing of Python or Java left behind."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import psutil
import pytest

from millrace.control import exit_codes
from millrace.control.launcher import StreamHost
from millrace.control.order import give_order
from millrace.control.process import HostUnavailable, ProcessState
from millrace.control.streamhost import command, log_file, socket_file, write_config
from millrace.settings import PROJECT_ROOT, Settings
from millrace.store import open_store
from tests.conftest import running, wait_until
from tests.families import family, signal_all, undead
from tests.integration.streams import StreamUnderTest, make_stream, poll
from tests.integration.test_station_stream import T0, city

pytestmark = pytest.mark.stack
NAME = "station_hourly"


@pytest.fixture
def home() -> Iterator[Path]:
    """A short path, for the host's unix socket."""
    found = Path(tempfile.mkdtemp(prefix="millrace-"))
    yield found
    shutil.rmtree(found, ignore_errors=True)


@pytest.fixture
def hosted(
    tmp_path: Path, home: Path, store_settings: Settings, kafka: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[StreamUnderTest, StreamHost]]:
    """A stream whose transform hangs at a certain record, deployed on a stream host."""
    settings = replace(store_settings, home=home)
    stream = make_stream(
        tmp_path, settings, kafka, app="station_hourly", max_messages_per_batch=15, stop_within="3s"
    )
    (tmp_path / "spark_apps").mkdir()
    (tmp_path / "spark_apps" / "__init__.py").write_text(
        "from pkgutil import extend_path\n__path__ = extend_path(__path__, __name__)\n"
    )
    shutil.copy(Path(__file__).with_name("fragile_app.py"), tmp_path / "spark_apps" / f"{NAME}.py")
    config = write_config(settings, stream.catalog.streams.values())
    config.write_text(config.read_text().replace(f"directory={PROJECT_ROOT}\n", f"directory={tmp_path}\n"))
    for name, value in (stream.environment | {"PYTHONPATH": str(PROJECT_ROOT)}).items():
        monkeypatch.setenv(name, value)
    host = StreamHost(socket_file(home))
    with ExitStack() as stack:
        stack.enter_context(running(command(config), tmp_path / "supervisord.log"))
        wait_until(lambda: answers(host), 15, "supervisord to answer")
        order(stream, "start")
        yield stream, host
        signal_all(driver_family(host), signal.SIGKILL)


def answers(host: StreamHost) -> bool:
    try:
        return bool(host.states())
    except HostUnavailable:
        return False


def order(stream: StreamUnderTest, action: str) -> None:
    store = open_store(stream.settings)
    give_order(
        store,
        stream.catalog.streams,
        NAME,
        action,
        who="ada",
        why=f"to see {action}",
        check_reset=lambda spec: None,
    )


def driver_family(host: StreamHost) -> list[psutil.Process]:
    """The driver, its JVM, and the Python processes of Spark, which are in a process group of their own."""
    pid = host.state(NAME).pid
    return [] if pid is None else family(pid)


def kinds(members: list[psutil.Process]) -> set[str]:
    found = set()
    for member in undead(members):
        with suppress(psutil.NoSuchProcess):
            is_worker = "pyspark.daemon" in member.cmdline()
            found.add("java" if "java" in member.name() else "worker" if is_worker else "driver")
    return found


def stuck(stream: StreamUnderTest, host: StreamHost) -> list[psutil.Process]:
    """The processes of a driver that has begun the micro-batch in which it hangs."""
    mark = stream.settings.home / "streams" / NAME / "batch-at-hand.json"
    committed = lambda: stream.manifest() is not None and sum(stream.manifest().offsets.values()) == 15  # noqa: E731
    wait_until(
        lambda: committed() and mark.exists() and '"open": true' in mark.read_text(),
        90,
        f"the hanging batch\n{log_file(stream.settings.home, NAME)}",
    )
    wait_until(lambda: kinds(driver_family(host)) == {"driver", "java", "worker"}, 90, "all of the driver")
    return driver_family(host)


def gone(members: list[psutil.Process], within: float) -> None:
    _, alive = psutil.wait_procs(members, timeout=within)
    assert not undead(alive), kinds(alive)


def test_a_stop_is_answered_between_batches_then_by_force_and_leaves_nothing(
    hosted: tuple[StreamUnderTest, StreamHost],
) -> None:
    stream, host = hosted
    messages = city("north", 4, 15)
    stream.send(poll(message.system_id, message.observed_at, message.stations) for message in messages)
    host.start(NAME)
    wait_until(lambda: stream.manifest() is not None, 90, "the first batch")
    wait_until(lambda: sum(stream.manifest().offsets.values()) == 15, 30, "all there is")

    # Between two micro-batches: it ends by itself.
    members = driver_family(host)
    order(stream, "stop")
    gone(members, 30)
    wait_until(lambda: host.state(NAME).state is ProcessState.EXITED, 10, "the host to notice")
    assert host.state(NAME).exit_code == exit_codes.STOPPED
    assert stream.status().state == "stopped"

    # Within one that does not end, and a driver that hears nothing: SIGTERM, then SIGKILL to the process group.
    stream.send([poll("north", T0 + 9000, [("hangs", 3)])])
    order(stream, "start")
    host.start(NAME)
    members = stuck(stream, host)
    assert os.getpgid(members[0].pid) == members[0].pid
    members[0].send_signal(signal.SIGSTOP)
    began = time.monotonic()
    host.stop(NAME, timedelta(seconds=2))
    assert host.state(NAME).state is ProcessState.STOPPED
    gone(members, 15)
    assert 2 <= time.monotonic() - began < 20

    # Within one that does not end, and a driver that hears: its own deadline is over, and it says that it stopped.
    host.start(NAME)
    members = stuck(stream, host)
    began = time.monotonic()
    host.stop(NAME, timedelta(seconds=40))
    gone(members, 15)
    assert 3 <= time.monotonic() - began < 40
    assert stream.status().state == "stopped"
    assert sum(stream.manifest().offsets.values()) == 15, (
        "the batch that hung is read again at the next start"
    )
    mark = (stream.settings.home / "streams" / NAME / "batch-at-hand.json").read_text()
    assert '"deaths": 1' in mark, "the one that was killed"
    assert '"open": false' in mark, "and not the one that was asked to stop"
