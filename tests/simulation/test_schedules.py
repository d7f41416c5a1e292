"""The publish protocol under every fault that a store, a process and a network can have."""

from __future__ import annotations

import pytest

from tests.simulation.mutants import MUTANTS, Mutant, in_place
from tests.simulation.run import told, violating, violating_side_by_side

SCHEDULES = 20_000
ENOUGH = 3_000
"""Schedules in which the lack of a rule must be seen."""


@pytest.mark.timeout(900)
def test_no_schedule_loses_or_resurrects_anything() -> None:
    for seed in violating_side_by_side(range(SCHEDULES)):
        pytest.fail(told(seed))


@pytest.mark.parametrize("mutant", [one for one in MUTANTS if one.mix], ids=lambda mutant: mutant.rule)
def test_the_lack_of_a_rule_is_seen(mutant: Mutant) -> None:
    with in_place(mutant):
        caught = next(violating(range(ENOUGH), mutant.mix), None)
    assert caught is not None, f"{ENOUGH} schedules do not notice the lack of: {mutant.rule}"
    assert next(violating([caught[0]], mutant.mix), None) is None, "it is the rule that makes the difference"
