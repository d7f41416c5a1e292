"""Chaos: faults drawn from a seed, one after the other, until the time is over; then the report.

    python -m tests.chaos.run --minutes 60 [--airflow 10] [--seed 7] [--only NAME] [--report docs/reliability.md]

Two streams run side by side, each with faults of its own back to back; between them come the faults of what they
share. After each fault the next committed micro-batch is waited for, everything sent so far is counted and
published, and every published row, every commit and every rejected record is compared with the oracle's. At the
first difference the run ends, says the seed, the trial and the rows, and keeps its directory. A stream that did not
come back in time counts as failed, and the run goes on when it does later.
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from pathlib import Path

from tests.chaos.faults import Fault, Scene, load_all
from tests.chaos.lane import Lane, NotAsItShouldBe, NumbersDiffer
from tests.chaos.report import Trial, summary, write_report
from tests.chaos.stage import Complaints, Stage

SIDE_BY_SIDE = 4
"""Faults of each stream between two faults of all: so that they need not wait for each other after every one."""
THOROUGH_EVERY = 10
FAILURES = 5
"""So many faults that were not as they should be end a run."""


def draw(faults: Mapping[str, Fault], dice: random.Random, scope: str) -> Iterator[Fault]:
    """Faults of a scope without end: each kind once, in any order, so that a rare one is not left out of a run
    that has time for it; then by their weights. Nothing when the scope has none."""
    known = [one for one in faults.values() if one.scope == scope]
    yield from dice.sample(known, len(known))
    while known:
        yield from dice.choices(known, [one.weight for one in known])


class Run:
    """A stage and what happened on it."""

    def __init__(self, stage: Stage, faults: dict[str, Fault], *, seed: int, patience: float = 20.0) -> None:
        self.stage, self.seed, self.patience = stage, seed, patience
        self.trials: list[Trial] = []
        self._faults = faults
        self._began = time.monotonic()
        self._writing = threading.Lock()

    def under_airflow(self, ends: float) -> None:
        """As `until`, with a real Airflow as supervision, and its faults."""
        self.stage.supervise_with_airflow()
        dice = random.Random(self.seed + 1)
        for fault in draw(self._faults, dice, "airflow"):
            if time.monotonic() > ends:
                return
            own = random.Random(dice.random())
            everybody = fault.name.startswith("stream host")
            lanes = self.stage.lanes if everybody else [own.choice(self.stage.lanes)]
            self.try_it(fault, lanes, own)

    def until(self, ends: float) -> None:
        """Draw faults until a moment (`time.monotonic`). Raises NotAsItShouldBe at the first difference."""
        dice = random.Random(self.seed)
        of_streams, of_all = (draw(self._faults, dice, scope) for scope in ("stream", "all"))
        while time.monotonic() < ends:
            with ThreadPoolExecutor(len(self.stage.lanes)) as pool:
                hands = [
                    (lane, list(islice(of_streams, SIDE_BY_SIDE)), random.Random(dice.random()))
                    for lane in self.stage.lanes
                ]
                for done in [pool.submit(self._one_by_one, *hand, ends) for hand in hands]:
                    done.result()
            for fault in islice(of_all, 1):
                if time.monotonic() < ends:
                    self.try_it(fault, self.stage.lanes, random.Random(dice.random()))

    def _one_by_one(self, lane: Lane, faults: Sequence[Fault], dice: random.Random, ends: float) -> None:
        for fault in faults:
            if time.monotonic() < ends:
                self.try_it(fault, [lane], dice)

    def try_it(self, fault: Fault, lanes: Sequence[Lane], dice: random.Random) -> None:
        """As `trial`; a stream that was not back in time does not end the run, unless that happens often."""
        try:
            self.trial(fault, lanes, dice)
        except NumbersDiffer:
            raise
        except NotAsItShouldBe:
            if sum(one.seconds is None for one in self.trials) >= FAILURES:
                raise

    def trial(self, fault: Fault, lanes: Sequence[Lane], dice: random.Random) -> Trial:
        """One fault, from a steady stream to a steady one, with everything checked."""
        began = time.monotonic()
        name = " and ".join(lane.name for lane in lanes)
        try:
            for lane in lanes:
                lane.wait_steady()
                lane.next_commit(time.monotonic())
            counts_from = fault.inject(Scene(self.stage, lanes[0], dice, self.patience))
            commits = [lane.next_commit(counts_from) for lane in lanes]
            seconds = max(0.0, max(commit.at for commit in commits) - counts_from)
            for lane in lanes:
                lane.wait_steady()
                lane.check(thorough=len(self.trials) % THOROUGH_EVERY == 0)
                lane.forget_crashes()
        except Exception as error:
            self._note(
                Trial(fault.name, name, None, time.monotonic() - began, f"{type(error).__name__}: {error}")
            )
            raise
        return self._note(Trial(fault.name, name, seconds, time.monotonic() - began))

    def finish(self) -> None:
        """Everything once more, to the last record."""
        for lane in self.stage.lanes:
            lane.wait_steady()
            lane.check(thorough=True)

    def _note(self, trial: Trial) -> Trial:
        with self._writing:
            self.trials.append(trial)
            minutes, seconds = divmod(int(time.monotonic() - self._began), 60)
            print(
                f"{minutes:3d}:{seconds:02d} {len(self.trials):4d}  {trial.streams:32} {trial.fault:36} "
                + (f"{trial.seconds:6.1f} s" if trial.seconds is not None else f"FAILED\n{trial.problem}"),
                flush=True,
            )
        return trial


def main() -> int:
    """Run and report; the exit code is 1 when anything was not as it should be."""
    options = _parser().parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("millrace.publish").setLevel(logging.CRITICAL)  # failures of the store are meant
    complaints = Complaints()
    logging.getLogger("millrace.publish.fold").addHandler(complaints)
    logging.getLogger("millrace.publish.fold").setLevel(logging.ERROR)
    logging.getLogger("millrace.publish.fold").propagate = False
    faults = load_all()
    if options.only:
        faults = {name: one for name, one in faults.items() if any(part in name for part in options.only)}
    print(f"seed {options.seed}, {options.minutes:g} minutes, {len(faults)} kinds of faults", flush=True)
    with Stage(seed=options.seed) as stage:
        stage.keep = options.keep
        print(f"everything is in {stage.directory}", flush=True)
        run = Run(stage, faults, seed=options.seed, patience=options.patience)
        began = time.monotonic()
        problem = None
        try:
            run.until(began + (options.minutes - options.airflow) * 60)
            if options.airflow > 0:
                run.under_airflow(began + options.minutes * 60)
            run.finish()
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
            stage.keep = True
        if complaints.found and problem is None:
            problem = f"the publisher complained: {complaints.found[0]}"
            stage.keep = True
        late = any(one.seconds is None for one in run.trials)
        stage.keep = stage.keep or late
        commits = sum(len(stage.journal.commits(lane.name)) for lane in stage.lanes)
        refused = sum(stage.journal.refused(lane.name) for lane in stage.lanes)
        rows = sum(lane.rows_checked() for lane in stage.lanes)
        text = summary(
            run.trials,
            faults,
            seed=options.seed,
            seconds=time.monotonic() - began,
            commits=commits,
            refused=refused,
            rows=rows,
            disk="a small disk in memory, full" if stage.disk.is_mounted else "RLIMIT_FSIZE of the writers",
            problem=problem,
        )
        print(text, flush=True)
        if options.report is not None:
            write_report(options.report, "chaos", text)
        if stage.keep:
            print(f"kept: {stage.directory}", flush=True)
        if problem is not None:
            print(f"NOT AS IT SHOULD BE, with seed {options.seed}:\n{problem}", flush=True)
    return 1 if problem is not None or late else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument(
        "--airflow", type=float, default=0.0, help="how many of the minutes, at the end, under a real Airflow"
    )
    parser.add_argument("--seed", type=int, default=int(time.time()) % 100_000)
    parser.add_argument("--patience", type=float, default=20.0, help="seconds that a lasting fault may last")
    parser.add_argument("--only", action="append", help="faults whose name contains this; may be repeated")
    parser.add_argument("--report", type=Path, help="a Markdown file to write the report into")
    parser.add_argument("--keep", action="store_true", help="keep the directory in any case")
    return parser


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        sys.exit(main())
