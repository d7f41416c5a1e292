"""How a person calls this command from where they are: a fresh clone has it in `.venv/bin`, not on the PATH."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path


def command_name() -> str:
    """`millrace` when the shell finds this installation under that name, else the shortest path to it."""
    own = Path(sys.executable).with_name("millrace")
    found = shutil.which("millrace")
    if found and Path(found).resolve() == own.resolve():
        return "millrace"
    beside = os.path.relpath(own)
    return beside if len(beside) < len(str(own)) else str(own)
