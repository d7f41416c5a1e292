"""An Airflow of its own in a temporary directory: SQLite, this project's DAGs and plugins, nothing else.

Airflow reads its environment when it is first imported, so this comes before any test module here.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from millrace.settings import PROJECT_ROOT

if TYPE_CHECKING:
    from airflow.dag_processing.dagbag import DagBag
    from airflow.sdk import DAG

    from millrace.store import MemoryStore
    from tests.dags.supervised_world import Shift, World

DAGS = PROJECT_ROOT / "dags"
PLUGINS = PROJECT_ROOT / "plugins"
# Airflow's import makes a million objects that stay: looking through them for garbage is a fifth of the time.
gc.set_threshold(100_000, 20, 100)
_home = Path(tempfile.mkdtemp(prefix="millrace-tests-dags-"))
atexit.register(shutil.rmtree, _home, ignore_errors=True)

# `dag.test` reads the whole bundle of its DAG again, and writes all of its DAGs to the database, which takes longer
# than most runs here: so each file is a bundle of its own.
BUNDLES = [
    {
        "name": file.stem,
        "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
        "kwargs": {"path": str(file)},
    }
    for file in sorted(DAGS.glob("*.py"))
]
AIRFLOW_ENVIRONMENT = {
    "AIRFLOW_HOME": str(_home),
    "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
    "AIRFLOW__CORE__PLUGINS_FOLDER": str(PLUGINS),
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps(BUNDLES),
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
    """A migrated database, made once, and an Airflow that is quick about it."""
    from airflow import settings as airflow_settings
    from airflow.api_fastapi.execution_api import versions
    from airflow.utils.db import initdb
    from cadwyn import HeadVersion, Version, VersionBundle
    from sqlalchemy import event

    @event.listens_for(airflow_settings.engine, "connect")
    def without_waiting_for_the_disk(connection: Any, _: object) -> None:
        connection.execute("PRAGMA synchronous = OFF")

    initdb()
    # `dag.test` talks to the execution API in this process, whose routes are made for each version that a task of an
    # older Airflow would speak: most of its start. The two newest are kept, and what cadwyn needs below them.
    *kept, oldest = versions.bundle.versions[:3]
    for version in versions.bundle.versions:
        for change in version.changes:
            change._bound_version_bundle = None  # to the bundle that is replaced
    versions.bundle = VersionBundle(HeadVersion(), *kept, Version(oldest.value))
    # What has been imported by now stays: each collection of garbage would look through all of it.
    gc.freeze()


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> MemoryStore:
    """The store that the DAGs' tasks open, in memory, with the first generation of the quality tests' dataset."""
    from millrace_airflow import access

    from millrace.store import MemoryStore
    from tests.unit.quality.builders import begin

    made = MemoryStore()
    begin(made)
    monkeypatch.setattr(access, "store_of", lambda settings: made)
    return made


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """What the DAGs' tasks and triggers supervise."""
    from millrace_airflow import access, shared_watch

    from millrace.control.watch import ControlWatch
    from tests.dags.supervised_world import World

    made = World()
    monkeypatch.setattr(access, "store_of", lambda settings: made.store)
    monkeypatch.setattr(access, "launcher_of", lambda settings: made)
    monkeypatch.setattr(shared_watch, "ROUND", 0.02)
    watch = partial(ControlWatch, made.store, monotonic=lambda: made.store.now.timestamp())
    monkeypatch.setattr(shared_watch, "_watch_of_settings", watch)
    return made


@pytest.fixture
def dag(dagbag: DagBag) -> DAG:
    from tests.dags.supervised_world import STREAM

    return dagbag.dags[f"stream__{STREAM}"]


@pytest.fixture
def shift(dag: DAG, world: World) -> Shift:
    from tests.dags.supervised_world import Shift

    return Shift(dag)
