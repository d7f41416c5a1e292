"""What this machine must have before the stack starts; a failed check is one line that says what to do."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import psutil

from millrace.local.errors import StackError
from millrace.local.marker import MARKER
from millrace.local.ports import is_free

MEMORY_OF_SERVERS, MEMORY_OF_A_DRIVER = 1_500_000_000, 750_000_000
"""Bytes, as the running stack was measured: Airflow, Kafka, the S3 server and the feeds; and each Spark driver."""

DISK_NEEDED = 2_000_000_000
"""Bytes that must be free: a day of the default feed, Kafka's segments and the logs."""


def memory_needed(drivers: int) -> int:
    """Bytes that must be available for a stack with so many Spark drivers."""
    return MEMORY_OF_SERVERS + drivers * MEMORY_OF_A_DRIVER


def check_memory(drivers: int, available: int | None = None) -> None:
    """Raises StackError when less memory is available than the stack needs."""
    available = available_memory() if available is None else available
    needed = memory_needed(drivers)
    if available < needed:
        fewer = ", run fewer streams, such as STREAMS=station_hourly" if drivers > 1 else ""
        raise StackError(
            f"too little memory: {available / 1e9:.1f} GB available, the stack with {drivers} "
            f"Spark driver{'s' if drivers > 1 else ''} needs {needed / 1e9:.1f} GB; end other programs{fewer}, or give "
            "this machine or container more"
        )


def available_memory(groups: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes that new programs could have, by the machine and by the container's limit."""
    available = int(psutil.virtual_memory().available)
    left = _left_in_container(groups)
    return available if left is None else min(available, left)


def _left_in_container(groups: Path) -> int | None:
    """None without a limit. Pages of files count as used and can be had again: after `make install` alone there are
    2 GB of them."""
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        try:
            allowed = (groups / limit).read_text(encoding="ascii").strip()
            taken = int((groups / used).read_text(encoding="ascii"))
            lines = (groups / limit).with_name("memory.stat").read_text(encoding="ascii").splitlines()
        except (OSError, ValueError):
            continue
        stat = dict(line.split(maxsplit=1) for line in lines)
        # In the first version of control groups, `total_` is with the groups below.
        files = sum(
            int(stat.get(f"total_{name}", stat.get(name, 0))) for name in ("active_file", "inactive_file")
        )
        return None if allowed == "max" else int(allowed) - max(0, taken - files)
    return None


def check_disk(home: Path, free: int | None = None) -> None:
    """Raises StackError when the disk that holds `home` has too little room."""
    existing = next(parent for parent in (home, *home.parents) if parent.exists())
    free = shutil.disk_usage(existing).free if free is None else free
    if free < DISK_NEEDED:
        raise StackError(
            f"too little disk: {free / 1e9:.1f} GB free at {existing}, the stack needs "
            f"{DISK_NEEDED / 1e9:.0f} GB; free some, or choose another place with MILLRACE_HOME"
        )


def check_ports(ports: Mapping[str, int]) -> None:
    """`ports`: setting name to number. Raises StackError for a taken one (and says by whom) or a double."""
    twice = {number for number in ports.values() if list(ports.values()).count(number) > 1}
    if twice:
        names = [name for name, number in ports.items() if number in twice]
        raise StackError(f"{' and '.join(names)} are the same port {min(twice)}: give each its own")
    taken = {name: number for name, number in ports.items() if not is_free(number)}
    if not taken:
        return
    name, number = next(iter(taken.items()))
    owner = _owner(number)
    home = _home_of(owner)
    if home:
        who = f"by the stack of {home}"
    elif owner:
        who = f"by {owner.name()} (process {owner.pid})"
    else:
        who = "by another program"
    raise StackError(
        f"port {number} ({name}) is taken {who}: use other ports, all at once with "
        f"`make up PORT_BASE={suggested_base(len(ports))}` or this one with {name}=…"
    )


def suggested_base(count: int) -> int:
    """The first round number from which `count` ports in a row are free now."""
    bases = range(20000, 60000, 100)
    return next((base for base in bases if all(is_free(base + n) for n in range(count))), bases[0])


def _owner(port: int) -> psutil.Process | None:
    """The process that listens on a port; None when it cannot be seen (another user's)."""
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.status != psutil.CONN_LISTEN or not connection.laddr or not connection.pid:
                continue
            if connection.laddr.port == port:
                return psutil.Process(connection.pid)
    except psutil.Error:
        pass
    return None


def _home_of(process: psutil.Process | None) -> str | None:
    """The home of the stack that a process belongs to."""
    try:
        return process.environ().get(MARKER) if process else None
    except psutil.Error:
        return None
