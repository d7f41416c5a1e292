"""A Java is found and refused by its version, in words that help."""

from __future__ import annotations

from pathlib import Path

import pytest

from millrace.local.errors import StackError
from millrace.local.java import find_java, parse_version


@pytest.mark.parametrize(
    ("output", "version"),
    [
        ('openjdk version "17.0.15" 2025-04-15\nOpenJDK Runtime Environment', 17),
        ('openjdk version "21" 2023-09-19', 21),
        ('openjdk version "25-ea" 2025-09-16', 25),
        ('java version "1.8.0_392"', 8),
        ('Picked up JAVA_TOOL_OPTIONS: -Xmx1g\nopenjdk version "11.0.2" 2019-01-15', 11),
        ("The operation couldn't be completed. Unable to locate a Java Runtime.", None),
    ],
)
def test_the_feature_version_is_read(output: str, version: int | None) -> None:
    assert parse_version(output) == version


def fake_java(directory: Path, said: str) -> Path:
    program = directory / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\necho '{said}' >&2\n")
    program.chmod(0o755)
    return program


def test_java_home_is_stronger_than_path(tmp_path: Path) -> None:
    chosen = fake_java(tmp_path / "chosen", 'openjdk version "21.0.1"')
    other = fake_java(tmp_path / "other", 'openjdk version "17.0.1"')
    env = {"JAVA_HOME": str(tmp_path / "chosen"), "PATH": str(other.parent)}
    assert find_java(env).program == chosen
    assert find_java({"PATH": str(other.parent)}).version == 17


def test_a_java_that_is_too_old_is_named(tmp_path: Path) -> None:
    program = fake_java(tmp_path, 'openjdk version "11.0.2"')
    with pytest.raises(StackError, match=r"is Java 11: Millrace needs Java 17 or newer; install"):
        find_java({"PATH": str(program.parent)})


def test_without_java_the_command_to_install_it_is_given(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="no Java in PATH: Millrace needs Java 17 or newer; install"):
        find_java({"PATH": str(tmp_path)})
    with pytest.raises(StackError, match="no Java in JAVA_HOME="):
        find_java({"JAVA_HOME": str(tmp_path)})


def test_a_java_that_cannot_be_run_here_is_named(tmp_path: Path) -> None:
    program = fake_java(tmp_path, "")
    program.write_bytes(b"\x7fELF of another machine")
    with pytest.raises(StackError, match=r"bin/java cannot be run \(.*\); install"):
        find_java({"PATH": str(program.parent)})
