"""Into an Airflow that exists: the wheel, the DAGs and the plugins, with no repository anywhere near."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from millrace.catalog import load_catalog
from millrace.settings import PROJECT_ROOT
from tests.dags.test_parsing import READ_ALL

LOOK = """
import importlib, json, pkgutil, sys
import millrace, spark_apps
from millrace import settings
from millrace.catalog import load_catalog
from millrace.local.jars import read_lock
from millrace.quality.suite import load_suite, suite_file

names = [
    info.name
    for package in (millrace, spark_apps)
    for info in pkgutil.walk_packages(package.__path__, package.__name__ + ".")
    if not info.name.endswith("__main__")
]
for name in names:
    importlib.import_module(name)
found = settings.load()
catalog = load_catalog(found.catalog_dir)
for dataset in catalog.datasets.values():
    load_suite(suite_file(dataset.name), dataset)
print("RESULT" + json.dumps({
    "modules": len(names),
    "jars": len(read_lock()),
    "streams": sorted(catalog.streams),
    "files": [module.__file__ for module in sys.modules.values() if getattr(module, "__file__", None)],
}))
"""
"""What does not need Airflow: every module can be imported, and every file that they read is there."""


@dataclass(frozen=True)
class Deployment:
    """A place as docs/deploy.md describes it. `environment` is all that its programs are given."""

    directory: Path
    wheel: Path
    environment: dict[str, str]

    def run(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.directory / "venv/bin/python"), *arguments],
            env=self.environment | more,
            cwd=self.directory,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def result(self, code: str, *arguments: str) -> dict:
        done = self.run("-c", code, *arguments)
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout.split("RESULT", 1)[1])


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    directory = tmp_path_factory.mktemp("deployment")
    wheel = build(directory / "source")
    install(wheel, directory / "venv")
    for folder in ("dags", "plugins", "catalog", "expectations"):
        shutil.copytree(
            PROJECT_ROOT / folder, directory / folder, ignore=shutil.ignore_patterns("__pycache__")
        )
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(directory),
        "AIRFLOW_HOME": str(directory / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(directory / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(directory / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "MILLRACE_HOME": str(directory / "home"),
        "MILLRACE_CATALOG": str(directory / "catalog"),
    }
    yield Deployment(directory, wheel, environment)
    shutil.rmtree(directory)


def build(source: Path) -> Path:
    """The wheel, from a copy: building leaves files in the tree."""
    for name in ("millrace", "spark_apps"):
        shutil.copytree(PROJECT_ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "requirements.in", "README.md", "LICENSE"):
        shutil.copy(PROJECT_ROOT / name, source)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
    ]
    subprocess.run([*command, "--wheel-dir", str(source / "dist"), str(source)], check=True, timeout=120)
    (wheel,) = (source / "dist").glob("millrace-*.whl")
    return wheel


def install(wheel: Path, place: Path) -> None:
    """A bare environment with the wheel, and the packages of requirements.txt from where they are installed already.

    A directory that is named in a .pth file does not have its own .pth files read, so the project's source tree, which
    is installed as editable, is not among them.
    """
    venv.create(place, symlinks=True, with_pip=False)
    command = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(place / "bin/python"),
        "install",
        "--quiet",
        "--no-deps",
    ]
    subprocess.run([*command, "--no-index", str(wheel)], check=True, timeout=120)
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    (place / "lib" / version / "site-packages" / "locked.pth").write_text(
        sysconfig.get_path("purelib") + "\n"
    )


def from_the_repository(files: list[str]) -> list[str]:
    """Files of the source tree; the locked packages lie in its .venv, which is no part of it."""
    packages = sysconfig.get_path("purelib")
    return [file for file in files if file.startswith(str(PROJECT_ROOT)) and not file.startswith(packages)]


def test_the_wheel_asks_for_nothing_that_is_not_locked(deployment: Deployment) -> None:
    locked = dict(
        re.findall(r"^([a-z0-9._-]+)==(\S+)", (PROJECT_ROOT / "requirements.txt").read_text(), re.MULTILINE)
    )
    place = deployment.directory / "venv/lib"
    (metadata,) = place.glob("python*/site-packages/millrace-*.dist-info")
    wanted = [Requirement(text) for text in Distribution.at(metadata).requires or []]
    assert {"apache-airflow", "pyspark", "boto3", "confluent-kafka"} <= {one.name for one in wanted}
    assert {"pytest", "ruff", "mypy"}.isdisjoint(one.name for one in wanted), (
        "tests and checks are not deployed"
    )
    for one in wanted:
        assert one.specifier.contains(locked[one.name.lower().replace("_", "-")]), one


def test_every_module_and_every_file_that_it_reads_is_in_the_wheel(deployment: Deployment) -> None:
    found = deployment.result(LOOK)
    assert found["modules"] > 200
    assert found["jars"] > 50
    assert found["streams"] == sorted(load_catalog(PROJECT_ROOT / "catalog").streams)
    assert from_the_repository(found["files"]) == []


def test_what_is_no_module_is_in_the_wheel_too(deployment: Deployment) -> None:
    (installed,) = (deployment.directory / "venv/lib").glob("python*/site-packages")
    for package in ("millrace", "spark_apps"):
        for file in (PROJECT_ROOT / package).rglob("*"):
            if file.is_file() and file.suffix != ".pyc":
                assert (installed / file.relative_to(PROJECT_ROOT)).exists(), file


def test_airflow_loads_every_dag_and_plugin(deployment: Deployment) -> None:
    found = deployment.result(
        READ_ALL.replace(
            '"modules":',
            '"files": [m.__file__ for m in sys.modules.values() if getattr(m, "__file__", 0)], "modules":',
        ),
        json.dumps([[str(deployment.directory / folder) for folder in ("dags", "plugins")]]),
    )
    assert found["errors"] == {}
    streams = load_catalog(PROJECT_ROOT / "catalog").streams
    assert {f"stream__{name}" for name in streams} < set(found["dags"])
    assert "millrace_airflow.operator" in found["modules"]
    assert from_the_repository(found["files"]) == []
    assert not (deployment.directory / "home").exists(), "reading DAGs makes nothing"


def test_the_command_is_installed_and_the_embedded_stack_is_not_begun(deployment: Deployment) -> None:
    program = deployment.directory / "venv/bin/millrace"
    assert program.read_text().startswith(f"#!{deployment.directory}/venv/bin/python")
    done = deployment.run(str(program), "doctor", "--help")
    assert done.returncode == 0, done.stderr
    assert "Check this deployment" in done.stdout
    done = deployment.run(str(program), "up")
    assert done.returncode == 1
    assert done.stderr.startswith("millrace: the embedded stack needs the source tree")


@pytest.mark.parametrize("missing", ["MILLRACE_HOME", "MILLRACE_CATALOG"])
def test_a_place_that_nobody_named_is_asked_for(deployment: Deployment, missing: str) -> None:
    code = "from millrace import settings\ntry: settings.load()\nexcept settings.SettingsError as e: print(e)"
    done = deployment.run("-c", code, **{missing: ""})
    assert done.stdout.startswith(f"{missing} is not set"), done.stdout + done.stderr


def test_every_setting_is_in_the_docs_and_every_name_in_the_docs_is_a_setting() -> None:
    text = (PROJECT_ROOT / "docs" / "deploy.md").read_text()
    told = set(re.findall(r"\bMILLRACE_[A-Z0-9_]+\b", text))
    code = "\n".join(
        (PROJECT_ROOT / "millrace" / name).read_text()
        for name in (
            "settings.py",
            "kafka_access.py",
            "connections.py",
            "spark_access.py",
            "stream_host_access.py",
            "local/jars.py",
            "doctor/airflow_access.py",
        )
    )
    known = set(re.findall(r"\"(MILLRACE_[A-Z0-9_]+)\"", code)) - {"MILLRACE_KAFKA_JAAS"}
    assert known <= told, "settings that docs/deploy.md does not tell"
    assert told <= known | {"MILLRACE_PORT_AIRFLOW"}, "names that are no settings"
