"""The report of a run: faults × trials × outcome × seconds to the next committed micro-batch."""

from __future__ import annotations

import math
import os
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil

from tests.chaos.faults import Fault


@dataclass(frozen=True)
class Trial:
    """One fault. `seconds` to the next committed micro-batch; None when something was wrong."""

    fault: str
    streams: str
    seconds: float | None
    lasted: float
    problem: str | None = None


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which that share of them lies, by the nearest rank."""
    ordered = sorted(values)
    return ordered[max(1, math.ceil(round(share * len(ordered), 6))) - 1]


def machine() -> str:
    memory = psutil.virtual_memory().total / 2**30
    return f"{os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()} {platform.machine()}"


def summary(
    trials: Sequence[Trial],
    faults: Mapping[str, Fault],
    *,
    seed: int,
    seconds: float,
    commits: int,
    refused: int,
    rows: int,
    disk: str,
    problem: str | None,
) -> str:
    """The whole report as Markdown."""
    counted = Counter(one.fault for one in trials)
    verdict = (
        f"{commits:,} micro-batches, each committed exactly once ({refused} times a driver was told that its batch "
        f"was); {rows:,} published rows equal the oracle's; nothing lost, nothing doubled."
        if problem is None
        else f"**It failed:** {problem.splitlines()[0]}."
    )
    if late := [one for one in trials if one.seconds is None]:
        first = (late[0].problem or "").splitlines()[0]
        verdict += f" **{len(late)} of {len(trials)} not as it should be:** {late[0].fault} ({first})."
    lines = [
        f"{len(trials)} faults in {seconds / 60:.0f} minutes, seed {seed}, {datetime.now(UTC):%Y-%m-%d}, {machine()}. "
        + verdict
        + f" Disk full: {disk}.",
        "",
        "| fault | what happens | trials | as it should be | p50, s | p95, s | longest, s |",
        "|---|---|--:|--:|--:|--:|--:|",
    ]
    for name, fault in faults.items():
        if not counted[name]:
            continue
        mine = [one for one in trials if one.fault == name]
        found = [one.seconds for one in mine if one.seconds is not None]
        figures = (
            [f"{quantile(found, 0.5):.1f}", f"{quantile(found, 0.95):.1f}", f"{max(found):.1f}"]
            if found
            else ["", "", ""]
        )
        lines.append(f"| {name} | {fault.description} | {len(mine)} | {len(found)} | {' | '.join(figures)} |")
    return "\n".join(lines)


def write_report(path: Path, name: str, text: str) -> None:
    """Put a text between the markers of a Markdown file. Raises ValueError when they are not there."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    old = path.read_text(encoding="utf-8")
    before, found, rest = old.partition(begin)
    _, found_end, after = rest.partition(end)
    if not (found and found_end):
        raise ValueError(f"{path} has no lines {begin} and {end}")
    path.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")
