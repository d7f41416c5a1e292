"""An Airflow of its own in a temporary directory: SQLite, this project's DAGs and plugins, nothing else.

Airflow reads its environment when it is first imported, so this comes before any test module here.
"""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from millrace.control.watch import ControlWatch
from millrace.settings import PROJECT_ROOT
from millrace.store import MemoryStore
from tests.dags.supervised_world import STREAM, Shift, World
from tests.unit.quality.builders import begin

if TYPE_CHECKING:
    from airflow.dag_processing.dagbag import DagBag
    from airflow.sdk import DAG

DAGS = PROJECT_ROOT / "dags"
PLUGINS = PROJECT_ROOT / "plugins"
_home = Path(tempfile.mkdtemp(prefix="millrace-tests-dags-"))
atexit.register(shutil.rmtree, _home, ignore_errors=True)

AIRFLOW_ENVIRONMENT = {
    "AIRFLOW_HOME": str(_home),
    "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
    "AIRFLOW__CORE__PLUGINS_FOLDER": str(PLUGINS),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{_home / 'airflow.db'}",
    "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
}
for name in [name for name in os.environ if name.startswith("AIRFLOW")]:
    del os.environ[name]
os.environ.update(AIRFLOW_ENVIRONMENT)
sys.path.append(str(PLUGINS))


@pytest.fixture(scope="package", autouse=True)
def default_settings() -> Iterator[None]:
    """The settings of a fresh clone, whatever the shell says; other tests keep their own."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("MILLRACE_", "AWS_"))]:
            patch.delenv(name)
        patch.setenv("MILLRACE_HOME", str(_home / "millrace"))
        yield


@pytest.fixture(scope="package")
def dagbag(default_settings: None) -> DagBag:
    """The DAGs as the DAG processor reads them."""
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(dag_folder=str(DAGS))


@pytest.fixture(scope="package")
def airflow_db(default_settings: None) -> None:
    """A migrated database, made once: some 6 s."""
    from airflow.utils.db import initdb

    initdb()


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> MemoryStore:
    """The store that the DAGs' tasks open, in memory, with the first generation of the quality tests' dataset."""
    from millrace_airflow import access

    made = MemoryStore()
    begin(made)
    monkeypatch.setattr(access, "store_of", lambda settings: made)
    return made


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """What the DAGs' tasks and triggers supervise."""
    from millrace_airflow import access, shared_watch

    made = World()
    monkeypatch.setattr(access, "store_of", lambda settings: made.store)
    monkeypatch.setattr(access, "launcher_of", lambda settings: made)
    monkeypatch.setattr(shared_watch, "ROUND", 0.02)
    watch = partial(ControlWatch, made.store, monotonic=lambda: made.store.now.timestamp())
    monkeypatch.setattr(shared_watch, "_watch_of_settings", watch)
    return made


@pytest.fixture
def dag(dagbag: DagBag) -> DAG:
    return dagbag.dags[f"stream__{STREAM}"]


@pytest.fixture
def shift(dag: DAG, world: World) -> Shift:
    return Shift(dag)
