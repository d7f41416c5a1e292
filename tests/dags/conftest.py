"""An Airflow of its own in a temporary directory: SQLite, this project's DAGs and plugins, nothing else.

Airflow reads its environment when it is first imported, so this comes before any test module here.
"""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from millrace.settings import PROJECT_ROOT

if TYPE_CHECKING:
    from airflow.dag_processing.dagbag import DagBag

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
    "MILLRACE_HOME": str(_home / "millrace"),
}
for name in [name for name in os.environ if name.startswith(("AIRFLOW", "MILLRACE_", "AWS_"))]:
    del os.environ[name]
os.environ.update(AIRFLOW_ENVIRONMENT)
sys.path.append(str(PLUGINS))


@pytest.fixture(scope="session")
def dagbag() -> DagBag:
    """The DAGs as the DAG processor reads them."""
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(dag_folder=str(DAGS))


@pytest.fixture(scope="session")
def airflow_db() -> None:
    """A migrated database, made once: some 6 s."""
    from airflow.utils.db import initdb

    initdb()
