"""Resets of what does not read Kafka; those that do are in tests/integration/test_station_stream.py."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from millrace import settings
from millrace.catalog import StreamSpec
from millrace.control.orders import read_outcome
from millrace.control.status import write_status
from millrace.control.streamhost import stream_dir
from millrace.store import MemoryStore
from spark_apps.runtime.ordered_reset import check_reset, reset_as_ordered
from tests.unit.control.samples import SPEC, status

FILES = StreamSpec(name="bikes", app="station_hourly", source="files:///data", dataset="hourly_summary")


@pytest.fixture
def here(tmp_path: Path) -> settings.Settings:
    found = replace(settings.load({}), home=tmp_path)
    (stream_dir(tmp_path, "bikes") / "checkpoint").mkdir(parents=True)
    return found


def test_a_stream_of_files_reads_all_of_them_again(here: settings.Settings) -> None:
    store = MemoryStore()
    check_reset(store, here, FILES)
    done = reset_as_ordered(store, here, FILES, 5)
    assert done == read_outcome(store, "bikes", 5)
    assert done.outcome == "done"
    assert "counts from the beginning, reading all of files:///data that is there now" in done.says
    assert len(list(stream_dir(here.home, "bikes").glob("checkpoint-before-*"))) == 1


def test_beside_a_driver_that_is_alive_nothing_is_reset(here: settings.Settings) -> None:
    store = MemoryStore()
    write_status(store, status(host=socket.gethostname(), pid=os.getppid()).status)
    done = reset_as_ordered(store, here, SPEC, 5)
    assert done.outcome == "refused"
    assert f"the driver of bikes is running (process {os.getppid()})" in done.says
    assert not list(stream_dir(here.home, "bikes").glob("checkpoint-before-*"))


def test_what_cannot_be_read_again_is_refused_where_the_driver_begins(here: settings.Settings) -> None:
    words = StreamSpec(name="bikes", app="word_count", source="socket://127.0.0.1:9999", sinks=["live"])
    done = reset_as_ordered(MemoryStore(), here, words, 5)
    assert (done.outcome, "cannot be read again" in done.says) == ("refused", True)
