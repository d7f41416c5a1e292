"""The archive of Spark's classes: there for one Java and one class path, and nothing is lost without it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from millrace.local import class_archive


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A virtual environment of the test's own, with one jar."""
    jar = tmp_path / "one.jar"
    jar.write_bytes(b"classes")
    monkeypatch.setattr(class_archive, "jar_paths", lambda group: [jar])
    monkeypatch.setattr("sys.prefix", str(tmp_path))
    return jar


def train(returncode: int, writes: bool) -> object:
    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        if writes:
            Path(command[3]).write_bytes(b"archive")
        return subprocess.CompletedProcess(command, returncode)

    return run


def test_a_driver_gets_it_once_it_is_made_and_another_class_path_has_its_own(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("subprocess.run", train(0, writes=True))
    assert class_archive.archive_options() == []
    assert class_archive.ensure_archive() is True
    assert class_archive.ensure_archive() is False
    first = class_archive.archive_file()
    assert class_archive.archive_options()[0] == f"-XX:SharedArchiveFile={first}"

    os.utime(place, (1, 1))  # a JVM compares the times of jars
    assert class_archive.archive_options() == []
    assert class_archive.ensure_archive() is True
    assert not first.exists(), "an archive is big, and that of a class path that is gone is of no use"
    assert len(list(first.parent.iterdir())) == 1


@pytest.mark.parametrize(("returncode", "writes"), [(1, True), (0, False)])
def test_without_it_drivers_only_start_more_slowly(
    place: Path, monkeypatch: pytest.MonkeyPatch, returncode: int, writes: bool
) -> None:
    monkeypatch.setattr("subprocess.run", train(returncode, writes))
    assert class_archive.ensure_archive() is None
    assert class_archive.archive_options() == []
    assert list(class_archive.archive_file().parent.iterdir()) == []
