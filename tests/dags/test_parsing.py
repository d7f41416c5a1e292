"""Airflow reads DAG files and plugins again and again: that must be quick and bring in nothing heavy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib

import pytest

from millrace.settings import PROJECT_ROOT
from tests.dags.conftest import AIRFLOW_ENVIRONMENT, DAGS, PLUGINS

PARSE_WITHIN = 1.0
"""Seconds of CPU for one file, Airflow itself already imported; measured 0.05 s. By the clock it would be a measure of
the machine's load."""

READ_ALL = """
import json, sys, time
from pathlib import Path
from airflow import plugins_manager
from airflow.dag_processing.dagbag import DagBag

plugins_manager.ensure_plugins_loaded()
errors, dags, seconds = plugins_manager.get_import_errors(), [], {}
for file in sorted(Path(sys.argv[1]).rglob("*.py")):
    began = time.process_time()
    bag = DagBag(dag_folder=str(file))
    seconds[file.name] = time.process_time() - began
    errors |= bag.import_errors
    dags += bag.dags
print("RESULT" + json.dumps({
    "errors": errors,
    "dags": sorted(dags),
    "seconds": seconds,
    "modules": sorted(sys.modules),
    "operator": sys.modules["operator"].__file__,
}))
"""


def read_all(dags, plugins) -> dict:
    """What a fresh interpreter finds when it loads the plugins and then the DAGs."""
    environment = os.environ | AIRFLOW_ENVIRONMENT | {"AIRFLOW__CORE__PLUGINS_FOLDER": str(plugins)}
    environment |= {"PYTHONPATH": str(PROJECT_ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", READ_ALL, str(dags)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.split("RESULT", 1)[1])


@pytest.fixture(scope="module")
def ours():
    return read_all(DAGS, PLUGINS)


@pytest.fixture(scope="module")
def airflow_alone(tmp_path_factory):
    return read_all(tmp_path_factory.mktemp("dags"), tmp_path_factory.mktemp("plugins"))


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
