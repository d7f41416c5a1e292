"""Cleaning Airflow's own database with Airflow's own tool, `airflow db clean`.

Airflow hides its database from tasks: in a task's process, and so in any program that it starts, the address
is replaced by one that cannot work. The embedded stack's database is a file of this deployment, so its
address is known without asking Airflow, and is given to this one command alone.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from millrace.local.airflow_config import airflow_environment, airflow_home
from millrace.settings import Settings

BATCH = 1000
"""Rows per transaction: SQLite has one writer, and the scheduler must not wait for long."""
LEAST_KEPT = timedelta(days=7)


class CleaningFailed(Exception):
    """The command did not succeed; the message holds what it said last."""


def clean_command(now: datetime, kept: timedelta) -> list[str]:
    """The command that deletes what is older than `kept`. Raises ValueError for less than a week.

    Without archive tables: they would hold the same rows in the same database, for ever.
    """
    if kept < LEAST_KEPT:
        raise ValueError(f"Airflow's rows are kept for at least {LEAST_KEPT.days} days, not {kept.days}")
    before = (now - kept).astimezone(UTC).replace(microsecond=0).isoformat()
    return [
        *("airflow", "db", "clean", "--clean-before-timestamp", before),
        *("--skip-archive", "--batch-size", str(BATCH), "--error-on-cleanup-failure", "--yes"),
    ]


def own_database(settings: Settings) -> Path | None:
    """The embedded stack's database file, or None where Airflow's database is another."""
    path = airflow_home(settings) / "airflow.db"
    return path if path.exists() else None


def clean_environment(settings: Settings, env: Mapping[str, str]) -> dict[str, str]:
    """A task's environment, without its blocked address of the database, and with the stack's own."""
    blocked = (
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN",
        "AIRFLOW__CORE__SQL_ALCHEMY_CONN",
        "_AIRFLOW_PROCESS_CONTEXT",
    )
    kept = {name: value for name, value in env.items() if not name.startswith(blocked)}
    return kept | airflow_environment(settings)


def clean(settings: Settings, now: datetime, kept: timedelta, tell: Callable[[str], None]) -> None:
    """Run the command on the embedded stack's database; `tell` hears its output line by line.

    Raises CleaningFailed.
    """
    command = [sys.executable, "-m", *clean_command(now, kept)]
    with subprocess.Popen(
        command,
        env=clean_environment(settings, os.environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        said = "it said nothing"
        for line in filter(None, map(str.rstrip, process.stdout or ())):
            tell(line)
            if "Error" in line or "Error" not in said:  # of a traceback, the line that names the error
                said = line.strip()
    if process.returncode:
        raise CleaningFailed(f"airflow db clean ended with status {process.returncode}: {said}")
