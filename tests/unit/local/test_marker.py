"""Processes of a stack are found by what they inherited, and ended with those that started them first."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from millrace.local.home import make_home
from millrace.local.marker import MARKER, end, processes_of, roots
from millrace.local.programs import run_dir
from millrace.local.supervisor import Supervisor
from tests.conftest import wait_until

SLEEP = "import time; time.sleep(60)"
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(60)"
)
PARENT = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {SLEEP!r}])"


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[bytes]]]:
    processes: list[subprocess.Popen[bytes]] = []
    yield processes
    for process in processes:
        process.kill()
        process.wait()


def start(
    started: list[subprocess.Popen[bytes]], code: str, home: Path | None, *, new_session: bool = False
) -> subprocess.Popen[bytes]:
    environment = {**os.environ, **({MARKER: str(home)} if home else {})}
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env=environment,
        stdout=subprocess.PIPE,
        start_new_session=new_session,
    )
    started.append(process)
    return process


def test_only_processes_with_the_mark_of_this_home_are_found(
    started: list[subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    mine = start(started, PARENT, tmp_path)
    start(started, SLEEP, tmp_path / "another")
    start(started, SLEEP, None)
    wait_until(lambda: len(processes_of(tmp_path)) == 2, 10, "the process and its child to run")
    found = processes_of(tmp_path)
    assert {process.ppid() for process in found} == {os.getpid(), mine.pid}
    assert [process.pid for process in roots(found)] == [mine.pid]


def test_a_process_that_hides_its_environment_is_found_by_its_session(
    started: list[subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    leader = start(started, SLEEP, None, new_session=True)
    assert processes_of(tmp_path) == []
    assert [process.pid for process in processes_of(tmp_path, session=leader.pid)] == [leader.pid]


def test_the_number_of_the_session_is_no_sign_once_another_may_have_it(
    started: list[subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    leader = start(started, SLEEP, None, new_session=True)
    since = psutil.Process(leader.pid).create_time()
    make_home(tmp_path)
    note = run_dir(tmp_path) / "stack.json"

    note.write_text(json.dumps({"pid": leader.pid, "create_time": since}))
    assert [process.pid for process in Supervisor(tmp_path).processes()] == [leader.pid]
    note.write_text(json.dumps({"pid": leader.pid, "create_time": since - 60}))
    assert Supervisor(tmp_path).processes() == []


def test_of_a_session_whose_leader_is_gone_the_members_are_found_but_not_after_a_boot(tmp_path: Path) -> None:
    left = [
        sys.executable,
        "-c",
        f"import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', {SLEEP!r}]).pid)",
    ]
    leader = subprocess.Popen(left, stdout=subprocess.PIPE, start_new_session=True)
    assert leader.stdout is not None
    member = int(leader.stdout.readline())
    leader.wait()
    make_home(tmp_path)
    note = run_dir(tmp_path) / "stack.json"
    try:
        note.write_text(json.dumps({"pid": leader.pid, "create_time": psutil.boot_time() + 1}))
        assert [process.pid for process in Supervisor(tmp_path).processes()] == [member]
        note.write_text(json.dumps({"pid": leader.pid, "create_time": psutil.boot_time() - 60}))
        assert Supervisor(tmp_path).processes() == []
    finally:
        os.kill(member, signal.SIGKILL)


def test_this_process_is_never_its_own_victim(tmp_path: Path) -> None:
    assert os.getpid() not in {process.pid for process in processes_of(tmp_path, session=os.getsid(0))}


def test_what_does_not_heed_sigterm_is_killed(started: list[subprocess.Popen[bytes]], tmp_path: Path) -> None:
    meek, stubborn = start(started, SLEEP, tmp_path), start(started, STUBBORN, tmp_path)
    assert stubborn.stdout is not None
    stubborn.stdout.readline()
    killed = end([psutil.Process(meek.pid), psutil.Process(stubborn.pid)], patience=1)
    assert [process.pid for process in killed] == [stubborn.pid]
    assert processes_of(tmp_path) == []
