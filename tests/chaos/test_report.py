"""The report says what was found, and goes where it belongs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.faults import Fault
from tests.chaos.report import Trial, quantile, summary, write_report

FAULTS = {
    name: Fault(name, f"what {name} does", "stream", 1, lambda scene: 0.0)
    for name in ("fire", "flood", "frost")
}


def text(trials: list[Trial], problem: str | None = None) -> str:
    return summary(
        trials, FAULTS, seed=4, seconds=125, commits=1234, refused=2, rows=55, disk="full", problem=problem
    )


def test_it_counts_trials_and_their_seconds_by_fault() -> None:
    trials = [Trial("fire", "s", float(number), 30) for number in range(1, 21)]
    trials.append(Trial("flood", "s", None, 30, "it did not come back"))
    lines = text(trials, "it did not come back\nand more").splitlines()
    assert lines[0].startswith("21 faults in 2 minutes, seed 4, ")
    assert "**It failed:** it did not come back" in lines[0]
    assert "| fire | what fire does | 20 | 20 | 10.0 | 19.0 | 20.0 |" in lines
    assert "| flood | what flood does | 1 | 0 |  |  |  |" in lines
    assert not any("frost" in line for line in lines)


def test_a_stream_that_came_back_too_late_is_told_beside_what_became_of_the_numbers() -> None:
    trials = [
        Trial("fire", "s", 1.0, 2.0),
        Trial("flood", "s", None, 30, "no micro-batch within 240 s\nits log"),
    ]
    first = text(trials).splitlines()[0]
    assert "nothing lost, nothing doubled" in first
    assert "**1 of 2 not as it should be:** flood (no micro-batch within 240 s)." in first


def test_nothing_lost_is_only_said_when_nothing_was() -> None:
    assert "1,234 micro-batches, each committed exactly once" in text([Trial("fire", "s", 1.0, 2.0)])
    assert "nothing lost" not in text([], "a difference")


@pytest.mark.parametrize(("share", "expected"), [(0.5, 10), (0.95, 19), (1.0, 20), (0.0, 1)])
def test_quantiles_are_values_that_were_measured(share: float, expected: int) -> None:
    assert quantile(list(range(20, 0, -1)), share) == expected


def test_a_report_replaces_the_one_before_and_nothing_else(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- chaos: begin -->\nold\n<!-- chaos: end -->\nafter\n")
    write_report(page, "chaos", "new")
    assert page.read_text() == "before\n<!-- chaos: begin -->\nnew\n<!-- chaos: end -->\nafter\n"
    with pytest.raises(ValueError, match="has no lines"):
        write_report(page, "other", "new")
