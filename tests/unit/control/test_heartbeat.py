"""A heartbeat whose store answers slowly."""

from __future__ import annotations

import logging
import threading
from typing import Any

import pytest

from millrace.control import heartbeat
from millrace.control.heartbeat import Heartbeat
from millrace.control.status import DriverState, DriverStatus, newest_status
from millrace.store import MemoryStore
from tests.conftest import wait_until
from tests.unit.control import samples


class SlowStore(MemoryStore):
    """Its first PUT is under way until it is told to answer."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.answers = threading.Event(), threading.Event()

    def put(self, *args: Any, **kwargs: Any) -> Any:
        if not self.asked.is_set():
            self.asked.set()
            assert self.answers.wait(60)
        return super().put(*args, **kwargs)


class Process:
    def __init__(self, store: MemoryStore) -> None:
        self.state: DriverState = "running"
        self.heart = Heartbeat(
            store, "bikes", 3, 3600.0, status=self.status, on_stop=lambda _: None, on_fenced=lambda _: None
        )

    def status(self) -> DriverStatus:
        return samples.status(self.state).status


@pytest.fixture
def store() -> SlowStore:
    return SlowStore()


@pytest.fixture
def process(store: SlowStore) -> Process:
    process = Process(store)
    process.heart.start()
    assert store.asked.wait(60)
    process.state = "stopped"
    return process


def last_state(store: MemoryStore) -> str | None:
    said = newest_status(store, "bikes")
    return said.state if said else None


def test_a_slow_store_keeps_nobody_from_ending_and_the_last_word_is_the_last(
    store: SlowStore, process: Process, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(heartbeat, "LAST_WORDS_WITHIN", 0.01)
    with caplog.at_level(logging.ERROR):
        process.heart.end()
    assert "the store does not answer" in caplog.text
    assert last_state(store) is None
    store.answers.set()
    wait_until(lambda: last_state(store) == "stopped", 60, "the last word")
    process.heart.end()
    assert last_state(store) == "stopped", "and no report follows it"
