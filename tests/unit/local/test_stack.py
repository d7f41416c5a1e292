"""Waiting for a part of the stack, with a supervisor that only exists here and a clock that is moved by looking."""

from __future__ import annotations

import itertools
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from millrace.local import stack as stack_module
from millrace.local.errors import StackError
from millrace.local.java import Java
from millrace.local.stack import Cancelled, Stack, TimedOut
from millrace.local.supervisor import ProgramState, Supervisor
from millrace.settings import load

BEGUN = datetime(2026, 3, 1, tzinfo=UTC)


@dataclass
class Clock:
    """Every sleep takes as long as it is asked to."""

    now: float = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(stack_module, "time", made)
    return made


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> Stack:
    _says(monkeypatch, "RUNNING")
    settings = load({"MILLRACE_HOME": str(tmp_path)})
    return Stack(settings, {}, Java(Path("java"), 17), threading.Event(), begun=0.0)


def _says(monkeypatch: pytest.MonkeyPatch, state: str) -> None:
    monkeypatch.setattr(Supervisor, "state", lambda _, name: ProgramState(name, state, None, BEGUN, ""))


def test_what_comes_in_time_is_waited_for(stack: Stack, clock: Clock) -> None:
    stack.wait_for(lambda: clock.now >= 9, "kafka", 10)
    assert clock.now < 10


def test_what_does_not_come_is_given_up_with_what_it_is(stack: Stack, clock: Clock) -> None:
    with pytest.raises(TimedOut, match=r"waited 10 s in vain for Kafka to answer .*millrace logs kafka"):
        stack.wait_for(lambda: False, "kafka", 10, what="Kafka to answer")
    assert 10 < clock.now < 11


def test_as_long_as_something_happens_it_is_not_given_up(stack: Stack, clock: Clock) -> None:
    def progress() -> str:
        return "running" if clock.now > 5 else "queued"

    stack.wait_for(lambda: clock.now >= 19, "airflow-scheduler", 10, progress=progress)
    with pytest.raises(TimedOut):
        stack.wait_for(lambda: False, "airflow-scheduler", 10, progress=progress)
    assert 29 < clock.now < 30


def test_what_always_changes_is_waited_for_without_end(stack: Stack, clock: Clock) -> None:
    hours = itertools.count()
    stack.wait_for(lambda: clock.now >= 500, "airflow-scheduler", 10, progress=lambda: next(hours))


def test_a_program_that_ended_is_noticed_at_once(
    stack: Stack, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    _says(monkeypatch, "FATAL")
    with pytest.raises(StackError, match="s3 does not stay up"):
        stack.wait_for(lambda: False, "kafka", 10, watched=("s3",))
    assert clock.now == 0


def test_a_start_that_was_broken_off_waits_no_longer(stack: Stack, clock: Clock) -> None:
    stack.cancelled.set()
    with pytest.raises(Cancelled):
        stack.wait_for(lambda: False, "kafka", 10)
    assert clock.now == 0
