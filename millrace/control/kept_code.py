"""The code that a stream runs, kept on its host, so that it can be started again when its successor is refused.

`<home>/streams/<stream>/code/<version>/` holds the packages and the catalog as they were: a plain directory, because a
driver and Spark's Python processes read files beside their modules. Installed packages and jars are not in it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from millrace.control.code_version import PACKAGES, code_version
from millrace.control.streamhost import stream_dir
from millrace.local.jars import jar_root
from millrace.settings import PROJECT_ROOT, Settings

BEING_MADE = "being-made-"
KEPT = 2
"""The version that runs, and the one before it."""


def kept_code(home: Path, stream: str, version: str) -> Path | None:
    """Where a version is kept, or None."""
    found = stream_dir(home, stream) / "code" / version
    return found if found.is_dir() else None


def keep_code(settings: Settings, stream: str, app: str, version: str, root: Path = PROJECT_ROOT) -> bool:
    """Keep the code below `root`, if it still is that version; older ones but the last go. Raises OSError."""
    place = stream_dir(settings.home, stream) / "code"
    target = place / version
    if not target.is_dir():
        place.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=BEING_MADE, dir=place))
        try:
            leave_out = shutil.ignore_patterns("__pycache__", "*.pyc")
            for package in PACKAGES:
                shutil.copytree(root / package, made / package, ignore=leave_out)
            shutil.copytree(settings.catalog_dir, made / "catalog", ignore=leave_out)
            if code_version(app, made) != version:  # somebody has just changed it: this is not what runs
                return False
            made.rename(target)
        finally:
            shutil.rmtree(made, ignore_errors=True)
    os.utime(target)
    _prune(place)
    return True


def _prune(place: Path) -> None:
    versions = [path for path in place.iterdir() if not path.name.startswith(BEING_MADE)]
    versions.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    left_behind = [path for path in place.iterdir() if path.name.startswith(BEING_MADE)]
    for old in versions[KEPT:] + left_behind:
        shutil.rmtree(old, ignore_errors=True)


def environment_for(settings: Settings, code: Path) -> dict[str, str]:
    """What a process from kept code needs besides its own environment: places that it would look for beside itself."""
    before = os.environ.get("PYTHONPATH")
    return {
        "PYTHONPATH": f"{code}{os.pathsep}{before}" if before else str(code),
        "MILLRACE_HOME": str(settings.home),
        "MILLRACE_CATALOG": str(code / "catalog"),
        "MILLRACE_JARS": str(jar_root()),
    }
