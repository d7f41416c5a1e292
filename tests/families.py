"""Processes with all that they started, any of which may be gone at any moment: Hadoop starts small programs."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TypeVar

import psutil

Answer = TypeVar("Answer")


def family(pid: int) -> list[psutil.Process]:
    """A process and all that it started, itself first; none when it is gone."""
    try:
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def ask(
    members: Iterable[psutil.Process], question: Callable[[psutil.Process], Answer]
) -> list[tuple[psutil.Process, Answer]]:
    """Each of them with its answer, but for those that are gone."""
    found = []
    for member in members:
        with suppress(psutil.NoSuchProcess):
            found.append((member, question(member)))
    return found


def command_lines(members: Iterable[psutil.Process]) -> list[str]:
    return [" ".join(words) for _, words in ask(members, psutil.Process.cmdline)]


def jvms(members: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Those of them that run Java."""
    return [member for member, name in ask(members, psutil.Process.name) if "java" in name]


def undead(members: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Those of them that run: a zombie does not."""
    states = ask(members, psutil.Process.status)
    return [member for member, state in states if state != psutil.STATUS_ZOMBIE]


def signal_all(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)
