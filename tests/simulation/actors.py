"""Who takes part, each of them the real code of the project or a user of it: a function of its store."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from millrace.publish.audit import Verdict
from millrace.publish.compact import compact_hours
from millrace.publish.due import due_hours
from millrace.publish.expire import (
    HourExpired,
    advance_horizon,
    expire_hour,
    is_expired_for_good,
    read_horizon,
    refuse_expired,
)
from millrace.publish.fold import fold_hour
from millrace.publish.freshest import freshest_hour
from millrace.publish.generations import create_generation
from millrace.publish.hour import HourState
from millrace.publish.landing import write_facts, write_replay, write_seals
from millrace.publish.settled import is_settled
from millrace.publish.version import Version
from millrace.store import NotFound, StoreError
from tests.simulation.dataset import DATASET, HOUR, POISON, PUBLISHED, facts
from tests.simulation.ghost import NOTHING, Ghost, holds, join, of_published, of_state
from tests.simulation.world import SimulatedStore, World

Actor = Callable[[SimulatedStore], None]
WRITER = DATASET.writers[0]
LONG_AFTER = HOUR + timedelta(days=1)


def no_pause(_seconds: float) -> None:
    """Waiting is the scheduler's business."""


class OneByOne:
    """Requests that may run at once, one after the other in any order; the first error after all were tried."""

    def __init__(self, rng: random.Random | None) -> None:
        self._rng = rng

    def __call__(self, do: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        order = list(range(len(items)))
        if self._rng is not None and len(items) > 1:
            self._rng.shuffle(order)
        answers: dict[int, Any] = {}
        errors: dict[int, Exception] = {}
        for number in order:
            try:
                answers[number] = do(items[number])
            except Exception as error:
                errors[number] = error
        if errors:
            raise errors[min(errors)]
        return [answers[number] for number in range(len(items))]


@dataclass(frozen=True)
class Batch:
    """A micro-batch: complete totals of some keys, and whether the hour is sealed after it."""

    number: int
    rows: tuple[tuple[str, int], ...]
    seals: bool = False

    def ghost(self, replay: int, generation: int) -> Ghost:
        version = Version(replay, generation, self.number).packed()
        return Ghost(replay, frozenset((key, (version, n)) for key, n in self.rows))


def forever(do: Callable[[], Any]) -> Any:
    """As drivers do: again and again while the store is away."""
    while True:
        try:
            return do()
        except StoreError:
            continue


def publisher(world: World, rng: random.Random, rounds: int, *, audited: bool = False) -> Actor:
    def run(store: SimulatedStore) -> None:
        for _ in range(rounds):
            try:
                due = due_hours(store, DATASET, LONG_AFTER)
            except StoreError:
                continue
            compact_hours(
                store,
                DATASET,
                due,
                audit=audit_of(world) if audited else None,
                pause=no_pause,
                side_by_side=OneByOne(rng),
            )

    return run


def audit_of(world: World) -> Callable[..., Verdict]:
    def audit(dataset: object, hour: object, candidate: HourState, published: object) -> Verdict:
        refused = POISON in candidate.rows["n"].to_list() and not world.mended
        return Verdict(not refused, {}, "poison" if refused else None)

    return audit


def one_fold(store: SimulatedStore) -> None:
    """The smallest publisher, for exploring every order."""
    try:
        fold_hour(store, DATASET, HOUR, pause=no_pause, side_by_side=OneByOne(None))
    except StoreError:
        return


def driver(
    world: World,
    rng: random.Random,
    batches: Sequence[Batch],
    generation: int | None,
    *,
    void: bool = False,
    resplit: bool = True,
) -> Actor:
    """A life of a stream. `generation` None: it begins a checkpoint of its own; `void`: in mid-hour."""

    def split(batch: Batch) -> list[tuple[int, tuple[tuple[str, int], ...]]]:
        """Parts and their rows, in the order in which the tasks happen to write them."""
        rows = list(batch.rows)
        if resplit:
            rng.shuffle(rows)
        cut = rng.randint(0, len(rows)) if resplit else len(rows)
        parts = [(part, tuple(sorted(some))) for part, some in enumerate((rows[:cut], rows[cut:])) if some]
        if resplit:
            rng.shuffle(parts)
        return parts

    def run(store: SimulatedStore) -> None:
        number = generation
        if number is None:
            first = HOUR + timedelta(hours=1) if void else None
            claim = lambda: create_generation(store, DATASET.name, parent=1, first_complete_hour=first)  # noqa: E731
            number = forever(claim).generation
            if void:
                world.void |= {number}
        written = NOTHING

        def write(batch: Batch) -> None:
            for part, rows in split(batch):
                version = Version(0, number, batch.number)
                write_facts(store, DATASET, facts(rows), version, part, side_by_side=OneByOne(rng))

        for batch in batches:
            forever(lambda: write(batch))  # noqa: B023
            written = join(written, batch.ghost(0, number))
            if batch.seals and not void:
                seal(world, store, Version(0, number, batch.number), written)

    return run


def seal(world: World, store: SimulatedStore, version: Version, written: Ghost) -> None:
    world.needs += ((version.packed(), written),)
    side_by_side = OneByOne(None)
    forever(lambda: write_seals(store, DATASET, WRITER, [HOUR], version, side_by_side=side_by_side))


def replayer(world: World, batch: Batch) -> Actor:
    """Recomputes the hour: everything the stream wrote is void from then on."""

    def run(store: SimulatedStore) -> None:
        version = Version(1, 1, batch.number)
        whole = batch.ghost(1, 1)
        world.whole_replay = whole
        forever(lambda: write_replay(store, DATASET, facts(batch.rows), HOUR, version))
        seal(world, store, version, whole)

    return run


def retention(world: World, *, horizon: bool) -> Actor:
    """Expires the hour; later passes the horizon over it and removes the empty object."""

    def run(store: SimulatedStore) -> None:
        world.expiring = True
        while True:
            forever(lambda: expire_hour(store, DATASET, HOUR, pause=no_pause))
            if forever(lambda: is_expired_for_good(store, DATASET, HOUR)):
                break
        world.expired = True
        if horizon:
            following = HOUR + timedelta(hours=1)
            forever(lambda: advance_horizon(store, DATASET, following, pause=no_pause))
            world.behind_horizon = True
            forever(lambda: store.delete(PUBLISHED))

    return run


def reader_of_published(world: World, rounds: int) -> Actor:
    """Reads by path, then the horizon; on a store that checks first it acts on settled objects only."""

    def run(store: SimulatedStore) -> None:
        last = NOTHING
        for _ in range(rounds):
            try:
                found = store.get(PUBLISHED)
                refuse_expired(read_horizon(store, DATASET), DATASET, HOUR)
            except HourExpired:
                return
            except NotFound:
                if last != NOTHING and not world.behind_horizon:
                    world.violated("a published hour vanished")
                continue
            except StoreError:
                continue
            if not is_settled(store, found):
                continue
            hour = of_published(found.body)
            world.shown(hour)
            if not holds(hour, last):
                world.violated("a reader saw published go backwards")
            last = NOTHING if hour.expired else join(hour, last)

    return run


def reader_of_the_freshest(world: World, rng: random.Random, rounds: int) -> Actor:
    """Landing, then published: sees at least all that was written before it began."""

    def run(store: SimulatedStore) -> None:
        last = NOTHING
        for _ in range(rounds):
            before = world.ever
            try:
                hour = of_state(freshest_hour(store, DATASET, HOUR, side_by_side=OneByOne(rng)))
            except (StoreError, HourExpired):
                continue
            if world.expiring:
                return
            if not holds(hour, before):
                world.violated("a reader of the freshest totals missed a fact")
            if not holds(hour, last):
                world.violated("a reader of the freshest totals went back")
            last = hour

    return run
