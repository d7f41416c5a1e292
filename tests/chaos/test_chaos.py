"""A handful of the most telling faults, two streams at once, against the oracle. `make chaos` does it for an hour."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from random import Random

import pytest

from tests.chaos.faults import load_all
from tests.chaos.run import Run, draw
from tests.chaos.stage import Complaints, Stage

pytestmark = pytest.mark.stack

OF_EACH = {
    "order_metrics": ["killed before the commit"],
    "station_hourly": ["S3 resets connections"],
}
OF_ALL = ["Kafka killed", "S3 server killed"]


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with Stage(seed=11, hour_lasts=15.0) as found:
        yield found


def test_after_every_fault_the_numbers_are_the_oracles(stage: Stage) -> None:
    faults = load_all()
    run = Run(stage, faults, seed=11, patience=5.0)
    complaints = Complaints()
    logging.getLogger("millrace.publish.fold").addHandler(complaints)
    try:
        with ThreadPoolExecutor(2) as pool:
            done = [
                pool.submit(
                    lambda lane=lane: [
                        run.trial(faults[name], [lane], Random(1)) for name in OF_EACH[lane.name]
                    ]
                )
                for lane in stage.lanes
            ]
            for one in done:
                one.result()
        for name in OF_ALL:
            run.trial(faults[name], stage.lanes, Random(1))
        run.finish()
    finally:
        logging.getLogger("millrace.publish.fold").removeHandler(complaints)
    assert complaints.found == []
    assert len(run.trials) == len(OF_ALL) + sum(map(len, OF_EACH.values()))
    for lane in stage.lanes:
        assert len(stage.journal.commits(lane.name)) > 10
        assert lane.rows_checked() > 40
        assert {commit.manifest.generation for commit in stage.journal.commits(lane.name)} == {1}


def test_every_fault_is_drawn_before_any_is_drawn_again_and_says_what_it_is() -> None:
    faults = load_all()
    for scope in ("stream", "all", "airflow"):
        known = [one for one in faults.values() if one.scope == scope]
        drawn = list(islice(draw(faults, Random(1), scope), len(known) + 2000))
        assert {one.name for one in drawn[: len(known)]} == {one.name for one in known}
        counted = Counter(one.name for one in drawn[len(known) :])
        rare, often = min(known, key=lambda one: one.weight), max(known, key=lambda one: one.weight)
        assert 0 < counted[rare.name] < counted[often.name] or rare.weight == often.weight
    assert {one.scope for one in faults.values()} == {"stream", "all", "airflow"}
    assert all(len(one.description) > 20 and one.weight > 0 for one in faults.values())
