"""Many schedules; a seed that violates something is told whole. `make simulate N=100000 SEED=7`."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from tests.simulation.memo import memoised
from tests.simulation.schedule import Mix, Schedule


def violating(seeds: Iterable[int], mix: Mix | None = None) -> Iterator[tuple[int, tuple[str, ...]]]:
    """The seeds that violate something, and what."""
    logging.disable(
        logging.CRITICAL
    )  # lost requests are the point here; logging each costs more than the rest
    try:
        with memoised():
            for seed in seeds:
                if found := Schedule(seed, mix or Mix()).run():
                    yield seed, found
    finally:
        logging.disable(logging.NOTSET)


def violating_side_by_side(seeds: range) -> list[int]:
    """The seeds that violate something, in order, looked for by one process per processor."""
    count = os.cpu_count() or 1
    shares = [seeds[first::count] for first in range(min(count, len(seeds)))]
    # Spawned, not forked: the threads of Polars do not outlive a fork.
    with ProcessPoolExecutor(max_workers=len(shares), mp_context=get_context("spawn")) as processes:
        return sorted(seed for found in processes.map(_violating_seeds, shares) for seed in found)


def _violating_seeds(seeds: range) -> list[int]:
    return [seed for seed, _ in violating(seeds)]


def told(seed: int, mix: Mix | None = None) -> str:
    """A schedule with everything that happened in it, and how to run it again."""
    schedule = Schedule(seed, mix or Mix(), keep_trace=True)
    logging.disable(logging.CRITICAL)
    try:
        with memoised():
            found = schedule.run()
    finally:
        logging.disable(logging.NOTSET)
    return "\n".join(
        [
            f"seed {seed}: {'; '.join(found) or 'nothing is wrong'}",
            str(schedule.mix),
            "clock (ticks of 5 min), who, request: outcome, answer",
            *schedule.trace,
            f"seed {seed}: {'; '.join(found) or 'nothing is wrong'}",
            f"again: make simulate SEED={seed} N=1",
        ]
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--schedules", type=int, default=20_000)
    parser.add_argument(
        "--seed", type=int, default=0, help="the first seed; with --schedules 1 it is told whole"
    )
    asked = parser.parse_args()
    if asked.schedules == 1:
        print(told(asked.seed))
        return 0
    begun = time.monotonic()
    found = violating_side_by_side(range(asked.seed, asked.seed + asked.schedules))
    for number, seed in enumerate(found):
        print(told(seed) if number == 0 else f"seed {seed} too")
    seconds = time.monotonic() - begun
    print(
        f"{asked.schedules:,} schedules from seed {asked.seed} in {seconds:.0f} s: {len(found)} with violations"
    )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
