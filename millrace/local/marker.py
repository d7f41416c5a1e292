"""Which processes belong to a stack, without going by names.

Two signs, each of which covers what the other misses:

* Everything that the stack's supervisord starts, and everything that starts in turn, inherits
  MILLRACE_STACK=<home> in its environment. What a person started by hand never has it, even with
  MILLRACE_HOME set. (Programs that rewrite their title overwrite their environment as others see it;
  SPT_NOENV keeps them from it.)
* supervisord is started in a session of its own, whose number was noted; a number of a session is not given
  to another process while the session has a member.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

import psutil

MARKER = "MILLRACE_STACK"


def processes_of(home: Path, session: int | None = None) -> list[psutil.Process]:
    """The living processes of this home's stack, without this very process and its ancestors."""
    me = psutil.Process()
    own = {me.pid, *(parent.pid for parent in me.parents())}
    return [
        process
        for process in psutil.process_iter()
        if process.pid not in own and (_in_session(process, session) or _marked(process, home))
    ]


def _in_session(process: psutil.Process, session: int | None) -> bool:
    try:
        return session is not None and os.getsid(process.pid) == session and _alive(process)
    except (OSError, psutil.Error):
        return False


def _marked(process: psutil.Process, home: Path) -> bool:
    try:
        return (
            process.uids().real == os.getuid()
            and _alive(process)
            and process.environ().get(MARKER) == str(home)
        )
    except psutil.Error:
        return False


def _alive(process: psutil.Process) -> bool:
    return process.status() != psutil.STATUS_ZOMBIE


def roots(processes: Sequence[psutil.Process]) -> list[psutil.Process]:
    """Those that no other of them started. Told to end, they end their own children in their own way: a
    scheduler whose workers hear SIGTERM at the same moment waits for them in vain."""
    pids = {process.pid for process in processes}
    found = []
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.ppid() not in pids:
                found.append(process)
    return found


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
