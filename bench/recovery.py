"""How soon a killed driver commits again, and whether anything is late while Airflow is away.

    python -m bench.recovery [--trials 20] [--minutes 5] [--stream order_metrics] [--report docs/reliability.md]

A real Kafka, a real S3 server, a real stream host and the stream as the catalog has it; the first part runs without
any supervision: what brings a driver back is the stream host alone, as while Airflow is down. Each trial kills the
driver's whole process group (SIGKILL) at a random moment of its trigger interval. The second part compares how long a
record takes from being sent to being in a committed micro-batch, with supervision and for as long without it.
"""

from __future__ import annotations

import argparse
import random
import threading
import time
from bisect import bisect_right
from dataclasses import dataclass, field
from pathlib import Path

from millrace.control.launcher import StreamHost
from millrace.control.process import ProcessState
from tests.chaos.journal import Commit
from tests.chaos.lane import Lane, kill_group
from tests.chaos.proxy import Request
from tests.chaos.report import machine, quantile, write_report
from tests.chaos.stage import Stage

RELAUNCHED_WITHIN = 60.0


@dataclass
class Deaths:
    """Seconds from a driver's death, of each trial."""

    process: list[float] = field(default_factory=list)
    claimed: list[float] = field(default_factory=list)
    committed: list[float] = field(default_factory=list)


def main() -> None:
    """Run both parts and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=5.0, help="with supervision, and as long without it")
    parser.add_argument("--stream", default="order_metrics")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--report", type=Path, help="a Markdown file to write the table into")
    options = parser.parse_args()
    with Stage((options.stream,), seed=options.seed, quick=False) as stage:
        (lane,) = stage.lanes
        lane.wait_steady()
        lane.next_commit(time.monotonic())
        with lane.unsupervised():
            deaths = kill_again_and_again(stage, lane, options.trials, random.Random(options.seed))
        lane.check(thorough=True)
        watched, unwatched = delays(lane, options.minutes * 60) if options.minutes else ([], [])
        lane.check(thorough=True)
    text = table(options.stream, deaths, watched, unwatched, options.minutes)
    print(text, flush=True)
    if options.report is not None:
        write_report(options.report, "recovery", text)


def kill_again_and_again(stage: Stage, lane: Lane, trials: int, dice: random.Random) -> Deaths:
    """With nobody there but the stream host."""
    found, acted = Deaths(), list(lane.actions)
    claims: list[float] = []
    claimed = threading.Condition()

    def note(request: Request, status: int) -> None:
        if request.method == "PUT" and f"control/{lane.name}/epochs/" in request.key and status == 200:
            with claimed:
                claims.append(time.monotonic())
                claimed.notify_all()

    stage.proxy.witness(note)
    for number in range(trials):
        time.sleep(dice.uniform(0, lane.spec.trigger.total_seconds()))
        pid, known = lane.pid(), len(claims)
        kill_group(pid)
        died = time.monotonic()
        found.process.append(new_process(lane.host, lane.name, pid) - died)
        with claimed:
            assert claimed.wait_for(lambda known=known: len(claims) > known, RELAUNCHED_WITHIN)
        found.claimed.append(claims[known] - died)
        found.committed.append(lane.next_commit(died).at - died)
        print(
            f"{number + 1:3d}: process {found.process[-1]:.1f} s, epoch {found.claimed[-1]:.1f} s, "
            f"micro-batch {found.committed[-1]:.1f} s",
            flush=True,
        )
        lane.wait_steady()
        lane.forget_crashes()
    assert lane.actions == acted, "supervision was to be away"
    return found


def new_process(host: StreamHost, stream: str, old: int) -> float:
    """When the stream host had started another process."""
    deadline = time.monotonic() + RELAUNCHED_WITHIN
    while time.monotonic() < deadline:
        info = host.state(stream)
        if info.state is ProcessState.RUNNING and info.pid not in (None, old):
            return time.monotonic()
        time.sleep(0.02)
    raise TimeoutError(f"{stream} was not started again")


def delays(lane: Lane, seconds: float) -> tuple[list[float], list[float]]:
    """Seconds from sent to committed of every record: of a span with supervision, and of one without."""
    lane.next_commit(time.monotonic())
    watched = _span(lane, seconds)
    with lane.unsupervised():
        unwatched = _span(lane, seconds)
    return watched, unwatched


def _span(lane: Lane, seconds: float) -> list[float]:
    first = len(lane.feeder.sent_at)
    time.sleep(seconds)
    last = len(lane.feeder.sent_at)
    assert lane.journal.wait_for_records(lane.name, last, 120)
    commits: list[Commit] = lane.journal.commits(lane.name)
    ends = [one.records for one in commits]
    return [
        commits[bisect_right(ends, number)].at - lane.feeder.sent_at[number] for number in range(first, last)
    ]


def table(stream: str, deaths: Deaths, watched: list[float], unwatched: list[float], minutes: float) -> str:
    """Everything as Markdown."""
    lines = [
        f"`{stream}` as the catalog has it, {len(deaths.committed)} times SIGKILL to its process group, supervision "
        f"away; {machine()}.",
        "",
        "| seconds from the driver's death to | p50 | p95 | longest |",
        "|---|--:|--:|--:|",
        *(
            f"| {what} | {quantile(values, 0.5):.1f} | {quantile(values, 0.95):.1f} | {max(values):.1f} |"
            for what, values in (
                ("its next process", deaths.process),
                ("its next driver epoch", deaths.claimed),
                ("its next committed micro-batch", deaths.committed),
            )
        ),
    ]
    if watched and unwatched:
        lines += [
            "",
            f"| seconds from sent to committed, over {minutes:g} min | records | p50 | p99 | longest |",
            "|---|--:|--:|--:|--:|",
            *(
                f"| {what} | {len(values):,} | {quantile(values, 0.5):.2f} | {quantile(values, 0.99):.2f} | "
                f"{max(values):.2f} |"
                for what, values in (("with supervision", watched), ("without", unwatched))
            ),
        ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
