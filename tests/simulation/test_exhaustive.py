"""Small cases in every order: one driver and one or two folds, with faults."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import greenlet
import pytest

from millrace.publish.generations import Generation
from millrace.publish.landing import landing_objects, write_seals
from millrace.publish.layout import generation_key
from millrace.publish.version import Version
from tests.simulation.actors import WRITER, Actor, OneByOne, forever, one_fold
from tests.simulation.dataset import DATASET, HOUR, facts
from tests.simulation.exhaustive import Explored, explore
from tests.simulation.ghost import join_all
from tests.simulation.memo import memoised
from tests.simulation.mutants import MUTANTS, Mutant, in_place
from tests.simulation.world import Request, SimulatedStore, World, landed_ghost

LAST = Version(0, 1, 0)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    with memoised():
        yield
    logging.disable(logging.NOTSET)


def new_world(*, atomic: bool = True, page: int = 1000) -> World:
    world = World(atomic=atomic, page=page)
    made = Generation(generation=1, parent=None, first_complete_hour=None, nonce="first")
    world.perform(
        "", Request("PUT", generation_key(DATASET.name, 1), made.model_dump_json().encode()), "done"
    )
    return world


def objects() -> list[tuple[str, bytes]]:
    """Three objects of one part, as attempts at a batch write them; the one with the smallest name last."""
    made = [
        landing_objects(DATASET, facts(((key, n),)), LAST, 0)[HOUR] for n, key in enumerate(("a", "b", "c"))
    ]
    return sorted(made, reverse=True)


def the_last_write_and_a_seal(_: World) -> Actor:
    """Its key lies before those that a listing may have passed already, its seal after them."""

    def run(store: SimulatedStore) -> None:
        forever(lambda: store.put(*objects()[-1]))
        forever(lambda: write_seals(store, DATASET, WRITER, [HOUR], LAST, side_by_side=OneByOne(None)))

    return run


def fold(_: World) -> Actor:
    return one_fold


def dying_fold(_: World) -> Actor:
    """A fold that is killed when its first PUT is answered."""

    def run(store: SimulatedStore) -> None:
        put = store.put

        def put_and_die(key: str, body: bytes, **conditions: Any) -> str:
            put(key, body, **conditions)
            raise greenlet.GreenletExit

        store.put = put_and_die  # type: ignore[method-assign]
        one_fold(store)

    return run


def explored(
    *cast: Callable[[World], Actor],
    page: int = 1000,
    faults: int = 0,
    atomic: bool = True,
    preemptions: int = 1000,
) -> Explored:
    world = new_world(atomic=atomic, page=page)
    for key, body in objects()[:-1]:
        world.perform("", Request("PUT", key, body), "done")
    # What the seal will cover is known beforehand: nobody may show the hour as final without it.
    world.needs = ((LAST.packed(), join_all(landed_ghost(key, body) for key, body in objects())),)
    return explore(world, cast, faults=faults, ticks=0 if atomic else 3, preemptions=preemptions)


def test_a_driver_and_a_fold_with_a_paged_listing_and_a_fault() -> None:
    found = explored(the_last_write_and_a_seal, fold, page=1, faults=1)
    assert found.violations == (), "\n".join(found.path)
    assert found.states > 1000


def test_a_driver_and_two_folds_that_interrupt_each_other_twice() -> None:
    found = explored(fold, the_last_write_and_a_seal, fold, page=1, preemptions=2)
    assert found.violations == (), "\n".join(found.path)
    assert found.states > 1000


def test_two_folds_on_a_store_that_checks_first_and_writes_later() -> None:
    found = explored(fold, fold, atomic=False, preemptions=1)
    assert found.violations == (), "\n".join(found.path)
    assert found.states > 1000


@pytest.mark.parametrize("mutant", [one for one in MUTANTS if not one.mix], ids=lambda mutant: mutant.rule)
def test_the_lack_of_a_rule_is_seen(mutant: Mutant) -> None:
    with in_place(mutant):
        assert explored(fold, the_last_write_and_a_seal, dying_fold, page=1, preemptions=2).violations
