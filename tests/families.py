"""Processes with all that they started, any of which may be gone at any moment: Hadoop starts small programs."""

from __future__ import annotations

import signal
from collections.abc import Iterable
from contextlib import suppress

import psutil


def family(pid: int) -> list[psutil.Process]:
    """A process and all that it started, itself first; none when it is gone."""
    try:
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def jvms(members: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Those of them that run Java."""
    found = []
    for member in members:
        with suppress(psutil.NoSuchProcess):
            if "java" in member.name():
                found.append(member)
    return found


def signal_all(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)
