"""A stream host alone: what it starts, what it starts again, and what it ends."""

from __future__ import annotations

import os
import signal
import socket
import stat
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psutil
import pytest

from millrace.control import exit_codes
from millrace.control.epochs import newest_epoch
from millrace.control.launcher import StreamHost
from millrace.control.lives import MOST_LIVES, read_lives, write_lives
from millrace.control.process import HostUnavailable, LauncherError, ProcessState
from millrace.control.status import newest_status
from millrace.control.streamhost import (
    longest_stop,
    socket_file,
    stream_dir,
)
from tests.conftest import wait_until
from tests.integration.control.stage import SPEC, STARTS_WITHIN, is_alive, is_driver

pytestmark = pytest.mark.stack


def test_a_deployed_stream_starts_and_keeps_its_process_id(stage):
    stage.deploy(state="running", revision=3)
    driver = stage.start()
    info = stage.host.state(SPEC.name)
    assert (driver.driver_epoch, driver.spec_revision) == (1, 3)
    assert (info.state, info.pid) == (ProcessState.RUNNING, driver.pid)
    stage.host.start(SPEC.name)
    assert stage.host.state(SPEC.name).pid == driver.pid, "starting what runs does no harm"
    assert psutil.Process(driver.pid).cmdline()[1:3] == ["-m", "spark_apps.fake_driver"]


def test_nobody_else_may_talk_to_the_host_and_its_files_hold_no_secret(stage):
    mode = stat.S_IMODE(socket_file(stage.settings.home).stat().st_mode)
    assert mode == 0o700
    stage.deploy()
    driver = stage.start()
    assert stage.settings.secret_key not in " ".join(psutil.Process(driver.pid).cmdline())
    for path in stage.settings.home.rglob("*"):
        if path.is_file():
            assert stage.settings.secret_key not in path.read_text(), path


def test_a_driver_that_is_killed_is_started_again_by_the_host(stage):
    stage.deploy()
    first = stage.start()
    os.kill(first.pid, signal.SIGKILL)
    second = stage.driver(after=first.driver_epoch)
    assert second.pid != first.pid
    assert stage.host.state(SPEC.name).pid == second.pid


def test_a_deliberate_end_is_final_for_the_host(stage):
    for epoch, code in enumerate((exit_codes.STOPPED, exit_codes.FENCED, exit_codes.FINISHED), start=1):
        assert code in exit_codes.NOT_RESTARTED, "all of which are in supervisord's configuration"
        stage.deploy(revision=epoch)
        stage.fault(f"exit {code}")
        stage.host.start(SPEC.name)
        stage.wait_for(ProcessState.EXITED)
        info = stage.host.state(SPEC.name)
        assert (info.exit_code, info.pid, newest_epoch(stage.store, SPEC.name)) == (code, None, epoch)


def test_a_crash_loop_is_left_to_airflow_after_a_few_lives(stage):
    stage.deploy()
    driver = stage.start()
    path = stream_dir(stage.settings.home, SPEC.name) / "lives.json"
    lives = read_lives(path)
    write_lives(path, replace(lives, begun=lives.begun * MOST_LIVES))
    os.kill(driver.pid, signal.SIGKILL)
    stage.until(
        lambda: stage.host.state(SPEC.name).exit_code == exit_codes.GAVE_UP,
        STARTS_WITHIN,
        "the host to give up",
    )
    assert "the stream host leaves it to Airflow" in stage.log()
    assert stage.host.state(SPEC.name).state is ProcessState.EXITED


def test_stopping_lets_the_driver_finish(stage):
    stage.deploy()
    driver = stage.start()
    stage.host.stop(SPEC.name, timedelta(seconds=10))
    ended = newest_status(stage.store, SPEC.name)
    assert (ended.driver_epoch, ended.state, ended.exit_code) == (driver.driver_epoch, "stopped", 0)
    assert stage.host.state(SPEC.name).state is ProcessState.STOPPED
    stage.host.stop(SPEC.name, timedelta(seconds=1))


def test_a_driver_that_does_not_stop_is_killed_with_its_whole_process_group(stage):
    stage.deploy()
    driver = stage.start()
    stage.fault("deaf")
    child = int((stream_dir(stage.settings.home, SPEC.name) / "child").read_text())
    stage.host.stop(SPEC.name, timedelta(seconds=1))
    wait_until(lambda: not is_alive(child), 5, "the child to be gone")
    assert not is_driver(driver.pid)
    assert stage.host.state(SPEC.name).state is ProcessState.STOPPED


def test_a_stop_in_the_store_ends_the_driver_without_anybody_else(stage):
    stage.deploy()
    stage.start()
    stage.deploy("stopped", revision=2)
    stage.wait_for(ProcessState.EXITED)
    assert stage.host.state(SPEC.name).exit_code == exit_codes.STOPPED
    stage.host.start(SPEC.name)
    stage.wait_for(ProcessState.EXITED)
    assert newest_epoch(stage.store, SPEC.name) == 1, "what is to be stopped does not even begin"


def test_the_host_ends_a_driver_that_hangs_after_a_stop_though_nobody_waits(stage):
    """As `millrace stream stop` without --wait, with the DAG paused: nobody looks again."""
    stage.deploy()
    driver = stage.start()
    stage.fault("deaf")
    stage.deploy("stopped", revision=2)
    began = datetime.now(UTC)
    stage.host.end(SPEC.name)
    assert datetime.now(UTC) - began < timedelta(seconds=2), "it does not wait"
    longest = longest_stop(SPEC).total_seconds()
    stage.wait_for(ProcessState.STOPPED, longest + 10)
    assert not is_driver(driver.pid)
    stage.host.end(SPEC.name)


def test_what_cannot_be_run_ends_with_one_clear_line(stage):
    stage.host.start(SPEC.name)
    stage.wait_for(ProcessState.EXITED)
    assert stage.host.state(SPEC.name).exit_code == exit_codes.BAD_CONFIGURATION
    assert "has never been deployed: the store has no control/bikes/desired.json" in stage.log()
    assert len(stage.log().splitlines()) == 1


def test_a_stream_that_the_host_does_not_know_is_said_so(stage):
    with pytest.raises(LauncherError, match=r"does not know the stream 'orders'.*restart the stream host"):
        stage.host.start("orders")


def test_a_host_that_is_away_or_hangs_is_said_so_in_time(stage, tmp_path, monkeypatch):
    with pytest.raises(HostUnavailable, match="does not answer"):
        StreamHost(tmp_path / "nothing.sock").state(SPEC.name)
    monkeypatch.setattr("millrace.control.launcher.ANSWER_WITHIN", 0.2)
    deaf = stage.settings.home / "run" / "deaf.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(deaf))
        listener.listen()
        with pytest.raises(HostUnavailable, match="timed out"):
            StreamHost(deaf).state(SPEC.name)


def test_a_driver_that_hangs_is_replaced(stage):
    stage.deploy()
    driver = stage.start()
    stage.fault("deaf")
    os.kill(driver.pid, signal.SIGSTOP)
    within = timedelta(seconds=1)
    stage.host.stop(SPEC.name, within)
    stage.heal()
    stage.host.start(SPEC.name)
    assert stage.driver(after=driver.driver_epoch).pid != driver.pid
    assert not is_driver(driver.pid)
