"""Airflow reads DAG files and plugins again and again: that must be quick and bring in nothing heavy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from millrace.settings import PROJECT_ROOT
from tests.dags.conftest import AIRFLOW_ENVIRONMENT, DAGS, PLUGINS

PARSE_WITHIN = 1.0
"""Seconds of CPU for one file, Airflow itself already imported; measured 0.05 s. By the clock it would be a measure of
the machine's load."""

READ_ALL = """
import json, os, sys, time
from pathlib import Path
from airflow import plugins_manager, settings
from airflow.dag_processing.dagbag import DagBag

def read(dags, plugins):
    settings.PLUGINS_FOLDER = plugins
    plugins_manager.ensure_plugins_loaded()
    errors, found, seconds = plugins_manager.get_import_errors(), [], {}
    for file in sorted(Path(dags).rglob("*.py")):
        began = time.process_time()
        bag = DagBag(dag_folder=str(file))
        seconds[file.name] = time.process_time() - began
        errors |= bag.import_errors
        found += bag.dags
    return {
        "errors": errors,
        "dags": sorted(found),
        "seconds": seconds,
        "modules": sorted(sys.modules),
        "operator": sys.modules["operator"].__file__,
    }

for folders in json.loads(sys.argv[1]):
    if not os.fork():
        print("RESULT" + json.dumps(read(*folders)), flush=True)
        os._exit(0)
    assert os.wait()[1] == 0
"""


def read_all(*folders: tuple[Path, Path]) -> list[dict]:
    """What an interpreter that has done nothing but import Airflow finds when it loads the plugins and then the DAGs,
    for each (DAGs, plugins)."""
    done = subprocess.run(
        [sys.executable, "-c", READ_ALL, json.dumps([[str(one) for one in pair] for pair in folders])],
        env=os.environ | AIRFLOW_ENVIRONMENT | {"PYTHONPATH": str(PROJECT_ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    lines = [line.removeprefix("RESULT") for line in done.stdout.splitlines() if line.startswith("RESULT")]
    return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    nothing = (tmp_path_factory.mktemp("dags"), tmp_path_factory.mktemp("plugins"))
    return read_all(nothing, (DAGS, PLUGINS))


@pytest.fixture(scope="module")
def airflow_alone(read):
    return read[0]


@pytest.fixture(scope="module")
def ours(read):
    return read[1]


def test_every_file_is_read_without_error(ours):
    assert ours["errors"] == {}
    assert "compact_hourly" in ours["dags"]


def test_every_file_is_read_quickly(ours):
    assert len(ours["seconds"]) == len(list(DAGS.rglob("*.py")))
    for file, seconds in ours["seconds"].items():
        assert seconds < PARSE_WITHIN, file


def test_nothing_heavy_is_imported(ours, airflow_alone):
    ruff = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]
    banned = {*ruff["flake8-tidy-imports"]["banned-module-level-imports"], "supervisor"}
    assert {"boto3", "pyspark", "polars", "pyarrow", "pandas", "great_expectations"} <= banned
    brought_in = set(ours["modules"]) - set(airflow_alone["modules"])
    assert "millrace_airflow.operator" in brought_in
    assert banned & {name.partition(".")[0] for name in brought_in} == set()


def test_no_plugin_takes_the_place_of_a_module_of_the_same_name(ours, airflow_alone):
    assert ours["operator"] == airflow_alone["operator"], "Airflow imports plugin files by their bare names"
