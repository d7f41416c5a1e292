"""Logs are found by the names people know, and followed across rotation."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from millrace.local.errors import StackError
from millrace.local.log_files import follow, last_lines, log_path
from tests.conftest import wait_until


@pytest.fixture
def home(tmp_path: Path) -> Path:
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "kafka.log").write_text("one\ntwo\nthree\n")
    (logs / "stream-station_hourly.log").write_text("driver\n")
    return tmp_path


def test_a_stream_is_found_by_its_own_name(home: Path) -> None:
    assert log_path(home, "station_hourly").name == "stream-station_hourly.log"
    assert log_path(home, "kafka").name == "kafka.log"


@pytest.mark.parametrize("name", ["nothing", "../settings", ""])
def test_a_name_that_is_not_known_is_answered_with_those_that_are(home: Path, name: str) -> None:
    with pytest.raises(StackError, match="there are: kafka, stream-station_hourly"):
        log_path(home, name)


def test_only_the_last_lines_are_shown(home: Path) -> None:
    assert last_lines(home / "logs" / "kafka.log", 2) == ["two\n", "three\n"]


def test_following_goes_on_after_rotation(home: Path) -> None:
    path = home / "logs" / "kafka.log"
    seen: list[str] = []
    done = threading.Event()
    reader = threading.Thread(
        target=lambda: seen.extend(_until(follow(path, lambda: not done.is_set(), 0.01), seen))
    )
    reader.start()
    try:
        _append_until_seen(path, "four\n", seen)
        path.rename(path.with_suffix(".log.1"))
        path.write_text("five\n")
        wait_until(lambda: "five\n" in seen, 10, "the line after rotation")
    finally:
        done.set()
        reader.join()


def _until(lines: object, seen: list[str]) -> list[str]:
    for line in lines:  # type: ignore[attr-defined]
        seen.append(line)
    return []


def _append_until_seen(path: Path, line: str, seen: list[str]) -> None:
    """The reader begins at the end of the file at a moment that is not known here."""

    def written() -> bool:
        with path.open("a") as file:
            file.write(line)
        return line in seen

    wait_until(written, 10, "an appended line")
