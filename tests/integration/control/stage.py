"""A stream host with one stream, whose driver is a stand-in (fake_driver.py), so that its faults can be chosen."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import psutil
import pytest

from millrace.catalog import StreamSpec
from millrace.control.attention import what_needs_attention
from millrace.control.desired import DesiredState, load_desired, write_desired
from millrace.control.follow import Arrival, follow
from millrace.control.launcher import StreamHost
from millrace.control.order import give_order
from millrace.control.outdated import config_of
from millrace.control.process import HostUnavailable, ProcessState
from millrace.control.reconcile import Reconciler
from millrace.control.status import DriverStatus, newest_status
from millrace.control.streamhost import log_file, stream_dir
from millrace.control.watch import ControlWatch
from millrace.settings import Settings
from millrace.store import S3Store
from tests.conftest import wait_until
from tests.families import family, undead

SPEC = StreamSpec(
    name="bikes", app="fake_driver", source="kafka://t", dataset="d", stop_within=timedelta(seconds=2)
)
STARTS_WITHIN = 30.0


@dataclass
class Stage:
    """A stream host with one stream, and the ways to look at it and to hurt it."""

    settings: Settings
    store: S3Store
    host: StreamHost
    supervisord: subprocess.Popen[bytes]
    again: Callable[[], subprocess.Popen[bytes]]

    def deploy(self, state: str = "running", revision: int = 1, **config: object) -> None:
        current = load_desired(self.store, SPEC.name)
        wanted = DesiredState(
            state=state,
            spec_revision=revision,
            config=config_of(SPEC) | config,
            who="a test",
            why="to see",
            at=datetime.now(UTC),
        )
        write_desired(self.store, SPEC.name, wanted, replacing=current.etag if current else None)

    def start(self) -> DriverStatus:
        self.host.start(SPEC.name)
        return self.driver(after=0)

    def driver(self, after: int) -> DriverStatus:
        """The running driver of a greater epoch than `after`."""
        self.until(lambda: self.is_running(after), STARTS_WITHIN, f"a driver after epoch {after}")
        found = newest_status(self.store, SPEC.name)
        assert found is not None
        return found

    def is_running(self, after: int) -> bool:
        found = newest_status(self.store, SPEC.name)
        return found is not None and found.driver_epoch > after and found.state == "running"

    def fault(self, text: str) -> None:
        directory = stream_dir(self.settings.home, SPEC.name)
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "fault").write_text(text)

    def heal(self) -> None:
        (stream_dir(self.settings.home, SPEC.name) / "fault").unlink()

    def wait_for(self, state: ProcessState, within: float = STARTS_WITHIN) -> None:
        self.until(lambda: self.host.state(SPEC.name).state is state, within, f"the process to be {state}")

    def until(self, condition: Callable[[], object], within: float, what: str) -> None:
        try:
            wait_until(condition, within, what)
        except pytest.fail.Exception as failure:
            raise AssertionError(f"{failure}\n{self.host.state(SPEC.name)}\n{self.log()}") from None

    def log(self) -> str:
        path = log_file(self.settings.home, SPEC.name)
        return path.read_text() if path.exists() else ""


def reconciler(stage: Stage) -> Reconciler:
    return Reconciler(stage.store, stage.host, SPEC, who="a test", jitter=lambda: 0.0)


def by_order(stage: Stage, action: str, **changes: object) -> Arrival:
    """An order, carried out and seen through by whoever gave it, as with Airflow away."""
    spec = SPEC.model_copy(update=changes)
    given = give_order(
        stage.store,
        {SPEC.name: spec},
        SPEC.name,
        action,
        who="ada",
        why=f"to see {action}",
        check_reset=lambda spec: None,
    )
    return follow(replace(reconciler(stage), spec=spec), given, lambda message: None)


def needs(stage: Stage) -> str | None:
    """Why the triggerer would call for somebody."""
    view = ControlWatch(stage.store).refresh().views[SPEC.name]
    return what_needs_attention(view, view.desired.spec_revision)


def answers(host: StreamHost) -> bool:
    try:
        return bool(host.states())
    except HostUnavailable:
        return False


def end(pid: int) -> None:
    """A driver that a test left behind, with its group; only if it is one."""
    if is_driver(pid):
        os.killpg(pid, signal.SIGKILL)


def is_driver(pid: int) -> bool:
    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and "spark_apps.fake_driver" in process.cmdline()
    except psutil.Error:
        return False


def is_alive(pid: int) -> bool:
    return bool(undead(family(pid)[:1]))
