"""Airflow's metadata database: made or migrated by one short process, and left alone when it is current.

Run as a program (`python -m millrace.local.airflow_database`) it migrates and makes the pool, in an
environment that names the database; one process instead of two saves an import of Airflow (3 s).
"""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from millrace.local.airflow_config import PUBLISH_POOL, airflow_home
from millrace.local.errors import StackError
from millrace.settings import Settings


def ensure_database(settings: Settings, environment: Mapping[str, str], log: Path) -> bool:
    """Bring the database to what the installed Airflow needs; True when there was something to do."""
    home = airflow_home(settings)
    home.mkdir(parents=True, exist_ok=True)
    if _is_current(home):
        return False
    with log.open("ab") as output:
        answer = subprocess.run(
            [sys.executable, "-m", "millrace.local.airflow_database"],
            env=dict(environment),
            stdout=output,
            stderr=output,
            check=False,
        )
    if answer.returncode:
        raise StackError(f"Airflow's database in {home} cannot be made or migrated: see {log}")
    _stamp(home).write_text(json.dumps(_found(home)), encoding="utf-8")
    return True


def _stamp(home: Path) -> Path:
    return home / "migrated.json"


def _is_current(home: Path) -> bool:
    try:
        noted = json.loads(_stamp(home).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(noted == _found(home)) and noted["pool"] is not None


def _found(home: Path) -> dict[str, str | int | None]:
    """The installed Airflow, and what the database says of itself."""
    try:
        airflow = version("apache-airflow")
    except PackageNotFoundError:
        raise StackError("Airflow is not installed in this Python environment: run `make install`") from None
    return {
        "airflow": airflow,
        "revision": _one(home, "SELECT version_num FROM alembic_version"),
        "pool": _one(home, f"SELECT slots FROM slot_pool WHERE pool = '{PUBLISH_POOL}'"),  # noqa: S608
    }


def _one(home: Path, query: str) -> str | int | None:
    path = home / "airflow.db"
    if not path.exists():
        return None
    try:
        with sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=5) as connection:
            row = connection.execute(query).fetchone()
    except sqlite3.Error:
        return None
    return row[0] if row else None


def migrate() -> None:
    """Migrate, and make the pool that lets one task at a time publish (see `millrace.local.s3`), if it is missing."""
    from airflow.models.pool import Pool
    from airflow.utils.db import upgradedb

    upgradedb()
    if Pool.get_pool(PUBLISH_POOL) is None:
        Pool.create_or_update_pool(
            name=PUBLISH_POOL,
            slots=1,
            description="One publisher at a time, for stores that check If-Match before they write",
            include_deferred=False,
        )


if __name__ == "__main__":
    migrate()
