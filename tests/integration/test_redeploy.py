"""A redeploy whose code cannot read the state, as a stream host carries it out: the old version goes on, exactly."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from millrace.control import exit_codes
from millrace.control.code_version import code_version
from millrace.control.desired import read_desired
from millrace.control.kept_code import kept_code
from millrace.control.order import give_order
from millrace.control.orders import read_outcome
from millrace.control.outdated import code_difference
from millrace.control.status import observe_newest
from millrace.settings import PROJECT_ROOT, Settings
from millrace.store import open_store
from tests.conftest import wait_until
from tests.families import family, signal_all
from tests.integration.streams import StreamUnderTest, compact, end_of_input, make_stream, poll
from tests.integration.test_station_stream import T0, city, read_published
from tests.oracles.stations import movements

pytestmark = pytest.mark.stack
NAME = "station_hourly"
BREAKS = "\n\ndef unpack(body):\n    raise ValueError('schema 1, and this version reads 2 alone')\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the code, to be changed."""
    root = tmp_path / "project"
    for name in ("millrace", "spark_apps"):
        shutil.copytree(PROJECT_ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    return root


@contextmanager
def hosted(stream: StreamUnderTest, project: Path) -> Iterator[subprocess.Popen[bytes]]:
    """What the stream host starts: it looks at what was ordered, and becomes the driver."""
    stream.settings.home.mkdir(parents=True, exist_ok=True)
    with (stream.settings.home / "driver.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "millrace.commands.host", "exec", NAME],
            cwd=project,
            env=stream.environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    members: list[psutil.Process] = []
    try:
        yield process
        members = family(process.pid)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == exit_codes.STOPPED, stream.log()[-3000:]
    finally:
        signal_all(members if process.poll() is not None else family(process.pid), signal.SIGKILL)
        process.wait()


def test_a_version_that_cannot_read_the_state_is_refused_and_the_old_one_goes_on_from_kept_code(
    tmp_path: Path, store_settings: Settings, kafka: str, project: Path
) -> None:
    stream = make_stream(tmp_path, store_settings, kafka, max_messages_per_batch=15)
    store = open_store(stream.settings)
    messages = city("north", 4, 60)
    records = [poll(message.system_id, message.observed_at, message.stations) for message in messages]
    records.append(end_of_input("north", T0))
    changes = project / "spark_apps" / "transforms" / "station_pack.py"

    def order(action: str, **changes: object) -> None:
        spec = stream.catalog.streams[NAME].model_copy(update=changes)
        give_order(
            store,
            {NAME: spec},
            NAME,
            action,
            who="ada",
            why=f"to see {action}",
            check_reset=lambda spec: None,
        )

    def running(revision: int) -> bool:
        found = stream.status()
        return found is not None and found.spec_revision == revision and found.state == "running"

    order("start")
    old = code_version(NAME, project)
    stream.send(records[:40])
    with hosted(stream, project) as process:
        stream.wait_for_offset(40, process)
        wait_until(lambda: kept_code(stream.settings.home, NAME, old), 30, "the code to be kept")
        wait_until(lambda: running(1), 30, "the status to say so")
        assert stream.status().code == old
        changes.write_text(changes.read_text() + BREAKS)
        new = code_version(NAME, project)
        assert code_difference(NAME, observe_newest(store, NAME), project) == [
            f"code: {old} runs, {new} is there now"
        ]

    order("redeploy", max_messages_per_batch=20)
    stream.send(records[40:])
    with hosted(stream, project) as process:
        stream.wait_for_offset(len(records), process)
        wait_until(lambda: running(3), 30, "the old version to run")
        assert stream.status().code == old
        assert Path(psutil.Process(process.pid).cwd()) == kept_code(stream.settings.home, NAME, old)
    outcome = read_outcome(store, NAME, 2)
    assert outcome.outcome == "refused"
    assert outcome.says.startswith(
        "the new version is refused: its transform cannot read the state of batch "
    ), outcome.says
    assert outcome.says.endswith(
        "ValueError: schema 1, and this version reads 2 alone. Mend it, or order reset, which counts the open hours "
        f"anew. The old configuration is started again, with the old code ({old}), until the next redeploy"
    ), outcome.says
    back = read_desired(store, NAME)
    assert (back.who, back.code, back.config["max_messages_per_batch"]) == ("preflight", old, 15)
    compact(stream)
    rows, states = read_published(stream)
    assert rows == movements(messages, late_by=7200, max_gap=7200).rows
    assert states == {"final"}

    changes.write_text(changes.read_text().replace(BREAKS, "\n# mended\n"))
    mended = code_version(NAME, project)
    order("redeploy", max_messages_per_batch=20)
    with hosted(stream, project):
        wait_until(lambda: running(4), 90, "the mended version to run")
        assert stream.status().code == mended not in (old, new)
    outcome = read_outcome(store, NAME, 4)
    assert (outcome.outcome, "with the same state to the byte" in outcome.says) == ("done", True), outcome
    assert read_desired(store, NAME).code is None
