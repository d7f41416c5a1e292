"""Removing all state of a home: topics, published hours, checkpoints, Airflow's database, logs, secrets."""

from __future__ import annotations

import shutil
from pathlib import Path

from millrace.local.errors import StackError
from millrace.local.home import foreign, is_home
from millrace.local.jars import jar_root
from millrace.local.supervisor import Supervisor


def cleanable(home: Path) -> list[Path]:
    """What `clean` would remove: everything in the home but fetched jars. Raises StackError while it runs,
    or when the directory does not look like a home of Millrace."""
    supervisor = Supervisor(home)
    if supervisor.is_running() or supervisor.processes():
        raise StackError(f"the stack of {home} is running: `millrace down` comes first")
    if not home.exists():
        return []
    if foreign(home):
        raise StackError(f"{home} does not look like a directory of Millrace: nothing is removed")
    if not is_home(home):
        return []
    return sorted(path for path in home.iterdir() if path != jar_root())


def clean(home: Path) -> None:
    """Remove it, for good."""
    for path in cleanable(home):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
