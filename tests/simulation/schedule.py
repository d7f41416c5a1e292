"""One schedule: who takes part, who moves when, what fails, all from one seed; and what it came to."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, fields, replace
from typing import Any

import greenlet

from millrace.publish.generations import Generation
from millrace.publish.layout import generation_key
from tests.simulation import actors
from tests.simulation.actors import Actor, Batch
from tests.simulation.dataset import DATASET, POISON, PUBLISHED
from tests.simulation.ghost import holds
from tests.simulation.world import BLOCKED, WINDOW, Request, SimulatedStore, World

MOST_STEPS = 400
LAST_PASSES = 12


@dataclass(frozen=True)
class Mix:
    """Who takes part. What is None is decided by the seed."""

    atomic: bool | None = None
    page: int | None = None
    """Keys per page of a listing: few, so that a listing is several requests."""
    publishers: int | None = None
    zombie: bool | None = None
    generations: int | None = None
    void: bool | None = None
    replay: bool | None = None
    twins_differ: bool | None = None
    retention: str | None = None
    """"none", "expire" or "horizon"."""
    reader: str | None = None
    """"none", "published" or "freshest"."""
    audited: bool | None = None

    def drawn(self, rng: random.Random) -> Mix:
        drawn = Mix(
            atomic=rng.random() < 0.6,
            page=rng.choice([1, 2, 3, 3, 1000]),
            publishers=rng.randint(1, 3),
            zombie=rng.random() < 0.35,
            generations=rng.choice([1, 1, 2]),
            void=rng.random() < 0.1,
            replay=rng.random() < 0.12,
            twins_differ=rng.random() < 0.05,
            retention=rng.choice(["none"] * 6 + ["expire", "horizon"]),
            reader=rng.choice(["none", "published", "freshest"]),
            audited=rng.random() < 0.15,
        )
        fixed = {one.name: getattr(self, one.name) for one in fields(self)}
        return replace(drawn, **{name: value for name, value in fixed.items() if value is not None})


@dataclass
class Life:
    """An actor under way: what it asks for, and whether it waits for an answer."""

    actor: Actor
    thread: Any
    request: Request | None = None
    blocked: bool = False
    speed: float = 1.0


@dataclass
class Schedule:
    """Runs one seed. `violations` is empty when all went well; `trace` says what happened."""

    seed: int
    mix: Mix = field(default_factory=Mix)
    keep_trace: bool = False
    trace: list[str] = field(default_factory=list)

    def run(self) -> tuple[str, ...]:
        self.rng = random.Random(self.seed)
        self.mix = self.mix.drawn(self.rng)
        self.world = World(atomic=bool(self.mix.atomic), page=self.mix.page or 1000)
        self.lives: dict[str, Life] = {}
        self._cast()
        steps = 0
        while self.lives and steps < MOST_STEPS and not self.world.violations:
            steps += 1
            self._step()
        for name in list(self.lives):
            self._kill(name)
        if not self.world.violations:
            self._end()
        return self.world.violations

    def _cast(self) -> None:
        rng, world, mix = self.rng, self.world, self.mix
        made = Generation(generation=1, parent=None, first_complete_hour=None, nonce="first")
        world.perform(
            "", Request("PUT", generation_key(DATASET.name, 1), made.model_dump_json().encode()), "done"
        )
        batches = self._batches(first=0, base=0)
        self._enter("driver", actors.driver(world, rng, batches, 1))
        if mix.zombie:
            other = [replace(one, rows=tuple((k, n + 1) for k, n in one.rows)) for one in batches]
            if mix.twins_differ:
                other = [replace(one, seals=False) for one in other]
            self._enter("zombie", actors.driver(world, rng, other if mix.twins_differ else batches, 1))
        if mix.generations == 2:
            later = self._batches(first=1, base=100)
            # A generation that is complete for the hour has totals of all its keys before it seals it.
            everything = tuple((key, 110 + number) for number, key in enumerate("abc"))
            later[0] = replace(later[0], rows=everything)
            self._enter("driver2", actors.driver(world, rng, later, None, void=bool(mix.void)))
        if mix.replay:
            rows = tuple((key, 300 + number) for number, key in enumerate("ab"))
            self._enter("replay", actors.replayer(world, Batch(0, rows)))
        for number in range(mix.publishers or 0):
            name = f"publisher{number}"
            self._enter(name, actors.publisher(world, rng, rng.randint(2, 4), audited=bool(mix.audited)))
        if mix.retention != "none":
            self._enter("retention", actors.retention(world, horizon=mix.retention == "horizon"))
            self.lives["retention"].speed = 0.1
        if mix.reader == "published":
            self._enter("reader", actors.reader_of_published(world, 25))
        elif mix.reader == "freshest":
            self._enter("reader", actors.reader_of_the_freshest(world, rng, 3))

    def _batches(self, first: int, base: int) -> list[Batch]:
        rng = self.rng
        keys = "abc"[: rng.randint(1, 3)]
        batches = []
        count = rng.randint(1, 3)
        for number in range(first, first + count):
            chosen = sorted(rng.sample(keys, rng.randint(1, len(keys))))
            rows = tuple((key, base + 10 * number + "abc".index(key)) for key in chosen)
            if self.mix.audited and rng.random() < 0.3:
                rows = ((rows[0][0], POISON), *rows[1:])
            seals = number == first + count - 1 or rng.random() < 0.2
            batches.append(Batch(number, rows, seals))
        return batches

    # Moving.

    def _enter(self, name: str, actor: Actor) -> None:
        thread = greenlet.greenlet(lambda _: actor(SimulatedStore(self.world, thread.parent.switch)))
        self.lives[name] = Life(actor, thread)
        self._go_on(name)

    def _go_on(self, name: str, answer: Any = None) -> None:
        life = self.lives[name]
        life.blocked = False
        life.request = life.thread.switch(answer)
        if life.thread.dead:
            del self.lives[name]

    def _kill(self, name: str) -> None:
        self.lives.pop(name).thread.throw()

    def _step(self) -> None:
        rng, world = self.rng, self.world
        dice = rng.random()
        if dice < 0.08:  # pauses of any length
            self.lives[rng.choice(list(self.lives))].speed = rng.choice([0.01, 0.01, 0.3, 1, 5])
        elif dice < 0.16:
            if world.may_tick():
                world.clock += 1
                self._note("clock", f"{world.clock}")
            else:
                late = [i for i, one in enumerate(world.travelling) if one.deadline is not None]
                self._deliver(rng.choice(late))
            return
        elif dice < 0.28 and world.travelling:
            self._deliver(rng.randrange(len(world.travelling)))
            return
        ready = [name for name, life in self.lives.items() if not life.blocked]
        if not ready:
            self._deliver(rng.randrange(len(world.travelling)))
            return
        name = rng.choices(ready, [self.lives[one].speed for one in ready])[0]
        life = self.lives[name]
        if rng.random() < 0.01:
            self._crash(name)
            return
        assert life.request is not None
        outcomes = world.outcomes(life.request, faults=True)
        if "checked" in outcomes and rng.random() < 0.5:
            outcome = "checked"  # provoke the race
        else:
            outcome = outcomes[0] if rng.random() < 0.8 else rng.choice(outcomes)
        self._perform(name, life.request, outcome)

    def _perform(self, name: str, request: Request, outcome: str) -> None:
        answer = self.world.perform(name, request, outcome)
        if self.keep_trace:
            told = type(answer).__name__ if isinstance(answer, Exception) else ""
            self._note(name, f"{request}: {outcome} {told}")
        if answer is BLOCKED:
            self.lives[name].blocked = True
        else:
            self._go_on(name, answer)

    def _deliver(self, number: int) -> None:
        self._note("arrives", str(self.world.travelling[number].request))
        name, answer = self.world.deliver(number)
        if name in self.lives and self.lives[name].blocked:
            self._go_on(name, answer)

    def _crash(self, name: str) -> None:
        """SIGKILL, before or after the request is done, and a new process that begins from the start."""
        life = self.lives[name]
        if life.request is not None and self.rng.random() < 0.5:
            self.world.perform(name, life.request, "done")
        self._note(name, "crashes and begins again")
        self._kill(name)
        self._enter(name, life.actor)

    def _end(self) -> None:
        """Writers are gone, faults stop, time passes, one publisher goes on: what is left must be right."""
        world = self.world
        while world.travelling:
            self._deliver(0)
        if world.behind_horizon:  # maintenance removes again what a request on its way has brought back
            world.perform("maintenance", Request("DELETE", PUBLISHED), "done")
        world.mended = True
        for _ in range(LAST_PASSES):
            if not world.landing():
                break
            world.clock += WINDOW + 1
            last = actors.publisher(world, self.rng, 1, audited=bool(self.mix.audited))
            last(SimulatedStore(world, self._at_once))
        self._note("end", f"{world.published}")
        if world.landing():
            world.violated("landing does not drain")
        if world.behind_horizon:
            if PUBLISHED in world.objects:
                world.violated("an hour came back from behind the horizon")
        elif world.expired:
            if not world.published.expired:
                world.violated("an expired hour came back")
        elif not world.expiring:
            if not (holds(world.published, world.ever) and holds(world.ever, world.published)):
                world.violated("published is not the newest of all facts")
            if world.sealed >= 0 and world.published.final != world.sealed:
                world.violated("a sealed hour does not become final")

    def _at_once(self, request: Request) -> Any:
        self._note("end", str(request))
        return self.world.perform("end", request, "done")

    def _note(self, who: str, what: str) -> None:
        if self.keep_trace:
            self.trace.append(f"{self.world.clock:3} {who:12} {what}")
