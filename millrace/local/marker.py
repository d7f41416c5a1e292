"""Which processes belong to a stack: those that inherited its mark in their environment.

Everything the stack's supervisord starts, and everything that starts in turn, carries MILLRACE_STACK=<home>.
So what a run left behind when its supervisord was killed can be found without going by names, and nothing
that a person started by hand (who may well have set MILLRACE_HOME) is ever taken for it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

import psutil

MARKER = "MILLRACE_STACK"


def processes_of(home: Path) -> list[psutil.Process]:
    """The living processes of this home's stack, without this very process and its ancestors."""
    me = psutil.Process()
    own = {me.pid, *(parent.pid for parent in me.parents())}
    return [process for process in psutil.process_iter() if process.pid not in own and _has(process, home)]


def _has(process: psutil.Process, home: Path) -> bool:
    try:
        return (
            process.uids().real == os.getuid()
            and process.status() != psutil.STATUS_ZOMBIE
            and process.environ().get(MARKER) == str(home)
        )
    except psutil.Error:
        return False


def end(processes: Sequence[psutil.Process], patience: float) -> list[psutil.Process]:
    """SIGTERM, `patience` seconds, then SIGKILL. Returns those that had to be killed."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    _, left = psutil.wait_procs(list(processes), timeout=patience)
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(left, timeout=10)
    return left
