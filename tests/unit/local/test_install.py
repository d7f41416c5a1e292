"""`bin/install` on machines that lack something: one line that says what to do; and nothing when all is there."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from millrace.settings import PROJECT_ROOT

# The project's own package, as a build backend that needs nothing would give it.
BACKEND = """
import os, zipfile

def build_editable(directory, settings=None, metadata=None):
    name = "small-1.0-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(directory, name), "w") as archive:
        archive.writestr("small-1.0.dist-info/METADATA", "Metadata-Version: 2.1\\nName: small\\nVersion: 1.0\\n")
        archive.writestr("small-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\\nTag: py3-none-any\\n")
        archive.writestr("small-1.0.dist-info/RECORD", "")
    return name
"""

TOOLS = ("sh", "dirname", "cksum", "grep", "mkdir", "rm", "cat", "sed", "head", "uname", "env")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A small project with the real bin/install: one locked package, from a directory instead of an index."""
    root = tmp_path / "project"
    (root / "bin").mkdir(parents=True)
    shutil.copy(PROJECT_ROOT / "bin" / "install", root / "bin")
    (root / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        '[project]\nname = "small"\nversion = "1.0"\n'
    )
    (root / "backend.py").write_text(BACKEND)
    wheel = tmp_path / "wheels" / "lockedthing-1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    write_wheel(wheel, "lockedthing")
    lock(root, hashlib.sha256(wheel.read_bytes()).hexdigest())
    return root


def write_wheel(path: Path, name: str) -> None:
    files = {
        f"{name}.py": "VALUE = 1\n",
        f"{name}-1.0.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{name}-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(
        f"{file},sha256={base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip('=')},"
        f"{len(text)}\n"
        for file, text in files.items()
    )
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in files.items():
            archive.writestr(file, text)
        archive.writestr(f"{name}-1.0.dist-info/RECORD", record)


def lock(root: Path, digest: str) -> None:
    (root / "requirements.txt").write_text(f"lockedthing==1.0 \\\n    --hash=sha256:{digest}\n")


def machine(root: Path, programs: dict[str, str]) -> dict[str, str]:
    """An environment whose PATH has the usual tools, no apt-get, a user who is not root, and `programs`."""
    directory = root.parent / "path"
    directory.mkdir(exist_ok=True)
    for tool in TOOLS:
        found = shutil.which(tool)
        if found and not (directory / tool).exists():
            (directory / tool).symlink_to(found)
    for name, text in {"id": "echo 1000", "dnf": "exit 1", **programs}.items():
        (directory / name).write_text(f"#!/bin/sh\n{text}\n")
        (directory / name).chmod(0o755)
    return {
        "PATH": str(directory),
        "HOME": str(root.parent),
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(root.parent / "wheels"),
        "PIP_CONFIG_FILE": os.devnull,
    }


REAL_PYTHON = {"python3": f'exec {sys.executable} "$@"'}


def install(root: Path, environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(root / "bin" / "install"), *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )


def with_apt(root: Path, programs: dict[str, str]) -> dict[str, str]:
    """A Debian where this user is root; what apt-get is asked for stands in `asked`."""
    apt = {"id": "echo 0", "apt-get": f'echo "$*" >> {root.parent}/asked; [ "$1" = update ]'}
    return machine(root, {**programs, **apt})


def refused(answer: subprocess.CompletedProcess[str]) -> str:
    """The one line of a refusal, without the line that says what was begun."""
    lines = [line for line in answer.stdout.splitlines() if not line.startswith("Installing ")]
    assert answer.returncode == 1, answer.stdout
    assert len(lines) == 1, answer.stdout
    return lines[0]


def test_whatever_was_wrong_it_goes_on_once_that_is_mended(project: Path) -> None:
    """One environment for all of it: making one takes seconds."""
    environment = machine(project, REAL_PYTHON)
    good = (project / "requirements.txt").read_text()

    (project / "requirements.txt").write_text("<<<<<<< HEAD\n")
    said = refused(install(project, environment, "--python-only"))
    assert "requirements.txt is broken: restore it from git" in said

    lock(project, "0" * 64)
    said = refused(install(project, environment, "--python-only"))
    assert "not the one that requirements.txt names by hash: do not trust" in said

    (project / "requirements.txt").write_text(good)
    offline = {k: v for k, v in environment.items() if k not in ("PIP_NO_INDEX", "PIP_FIND_LINKS")}
    offline |= {"PIP_INDEX_URL": "http://127.0.0.1:1/simple", "PIP_RETRIES": "1"}
    said = refused(install(project, offline, "--python-only"))
    assert "cannot reach the package index: check the network" in said

    answer = install(project, environment, "--python-only")
    assert answer.returncode == 0, answer.stdout
    assert "Installing 1 locked Python packages" in answer.stdout
    used = subprocess.run([str(project / ".venv/bin/python"), "-c", "import lockedthing"])
    assert used.returncode == 0

    again = install(project, environment, "--python-only")
    assert (again.returncode, again.stdout) == (0, "")

    said = refused(install(project, environment))
    assert "no Java: install 17 or newer with `sudo dnf install java-17-openjdk-headless`" in said

    said = refused(install(project, with_apt(project, REAL_PYTHON)))
    assert (
        "apt-get cannot install default-jre-headless (>= 2:1.17) | openjdk-17-jre-headless (its words: "
        in said
    )

    (project / "requirements.txt").write_text(good + "# changed\n")
    assert "Installing 1" in install(project, environment, "--python-only").stdout


def test_without_a_suitable_python_the_command_to_install_one_is_given(project: Path) -> None:
    old = {"python3": 'case "$*" in *version_info*) exit 1;; esac'}
    said = refused(install(project, machine(project, old)))
    assert "no Python from 3.11 to 3.14: install one with `sudo dnf install python3.12`" in said


def test_what_apt_is_asked_for_is_new_enough_also_where_the_default_is_not(project: Path) -> None:
    old = {"python3": 'case "$*" in *version_info*) exit 1;; esac'}
    said = refused(install(project, with_apt(project, old)))
    assert "apt-get cannot install python3-venv (>= 3.11) | python3.12-venv | python3.11-venv" in said
    asked = (project.parent / "asked").read_text().splitlines()
    assert asked[0] == "update -qq"
    assert asked[1].startswith("satisfy -y ")
    assert asked[1].endswith(" python3-venv (>= 3.11) | python3.12-venv | python3.11-venv")


def test_a_full_disk_is_said_also_by_the_log_that_could_not_be_written(project: Path) -> None:
    (project / ".millrace").mkdir()
    (project / ".millrace" / "install.log.room").symlink_to("/dev/full")
    failing = {"python3": f'case "$*" in *"-m venv"*) exit 1;; esac\nexec {sys.executable} "$@"'}
    said = refused(install(project, machine(project, failing), "--python-only"))
    assert f"the disk is full: the Python packages need 2 GB in {project}" in said


def test_a_clone_that_cannot_be_written_to_is_said_by_its_place(project: Path) -> None:
    (project / ".millrace").write_text("")
    said = refused(install(project, machine(project, REAL_PYTHON), "--python-only"))
    assert f"cannot write to {project}: clone into a directory of your own" in said


def test_a_python_that_was_named_and_is_not_suitable_is_refused(project: Path) -> None:
    environment = machine(project, {"oldpython": "exit 1"}) | {"PYTHON": "oldpython"}
    assert "PYTHON=oldpython is not a Python from 3.11 to 3.14" in install(project, environment).stdout


def test_without_the_venv_module_the_command_to_install_it_is_given(project: Path) -> None:
    bare = {"python3": f'case "$*" in *ensurepip*) exit 1;; esac\nexec {sys.executable} "$@"'}
    said = refused(install(project, machine(project, bare)))
    assert "python3 has no venv module: install it with `sudo dnf install" in said
