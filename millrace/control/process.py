"""What a process host says about the process of a stream."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class ProcessState(StrEnum):
    """supervisord's states (supervisord.org/subprocess.html), by their own names."""

    STOPPED = "STOPPED"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    BACKOFF = "BACKOFF"
    STOPPING = "STOPPING"
    EXITED = "EXITED"
    FATAL = "FATAL"
    UNKNOWN = "UNKNOWN"


NOT_RUNNING = frozenset({ProcessState.STOPPED, ProcessState.EXITED, ProcessState.FATAL})
"""States in which the host has seen the process end and will not start it by itself."""


@dataclass(frozen=True)
class ProcessInfo:
    """One program of a stream host. `since` is by the host's clock, and so is `host_now`."""

    stream: str
    state: ProcessState
    pid: int | None
    since: datetime | None
    """When it was started, or when it ended if it has; None when it never ran under this host."""
    host_now: datetime
    exit_code: int | None = None
    """The last one; negative for a signal, None while it runs or when it never ran."""
    note: str = ""
    """The host's own words, such as 'Exited too quickly'."""


class LauncherError(Exception):
    """A launcher could not do what was asked; the message says what is wrong and what to do."""


class HostUnavailable(LauncherError):
    """The process host does not answer, so nothing is known about its processes."""
