"""A small world to supervise in: a store, a stream host, drivers, Airflow, a person, and clocks that step.

What decides is the project's own (`Reconciler`, `what_needs_attention`, `ControlWatch`, `next_life`); what is decided
about is simulated, second by second. While a launcher waits for a driver to end, the world goes on under it, and
whoever gave the order may be killed there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from millrace.control.attention import what_needs_attention
from millrace.control.desired import load_desired, write_desired
from millrace.control.lives import Lives
from millrace.control.reconcile import Reconciler
from millrace.control.watch import ControlWatch
from millrace.store import MemoryStore, PreconditionFailed, StoreUnavailable
from tests.unit.control.samples import SPEC
from tests.unit.control.small_driver import BEGIN, HEARTBEAT, STREAM, Driver, Fate
from tests.unit.control.small_host import Host, Killed

WAKE = 3
"""Seconds from a trigger's event to the task's turn."""
MAX_NESTED = 2

Who = Literal["store", "host", "driver", "airflow"]


class Store(MemoryStore):
    """The store, with the world's clock; it may be away."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world
        self.away = False

    @property
    def now(self) -> datetime:
        return self._world.clock("store")

    @now.setter
    def now(self, value: datetime) -> None:
        pass

    def get(self, key):
        self._answer()
        return super().get(key)

    def put(self, key, body, **conditions):
        self._answer()
        return super().put(key, body, **conditions)

    def list_objects(self, prefix, *, after=None):
        self._answer()
        return super().list_objects(prefix, after=after)

    def _answer(self) -> None:
        if self.away:
            raise StoreUnavailable("away")


@dataclass
class Orderer:
    """Somebody who makes turns, and may be killed in the middle of one."""

    reconciler: Reconciler
    killed: bool = False
    busy: bool = False

    def turn(self, world: World):
        """The turn, or None when the store was away or it was killed."""
        self.busy, self.killed = True, False
        world.acting.append(self)
        try:
            return self.reconciler.turn()
        except (StoreUnavailable, Killed):
            return None
        finally:
            world.acting.pop()
            self.busy = False


@dataclass
class Airflow(Orderer):
    """The stream's DAG: a task that makes a turn, and a trigger that watches until the next one is needed."""

    up_at: float = 0
    turn_at: float | None = 0
    seen: int | None = None
    quiet_until: float = 0
    watch: ControlWatch | None = None

    def away(self, world: World, seconds: float) -> None:
        """Killed as a whole; what was deferred is in its database."""
        self.killed = True
        self.up_at = max(self.up_at, world.t + seconds)
        self.watch = None
        if self.busy:
            self.turn_at = self.up_at  # the task is run anew

    def tick(self, world: World) -> None:
        if world.t < self.up_at or self.busy or len(world.acting) >= MAX_NESTED:
            return
        if self.turn_at is not None:
            if world.t >= self.turn_at:
                self._make_turn(world)
        elif world.t % HEARTBEAT == 0 and self._needed(world):
            self.turn_at = world.t + WAKE

    def _make_turn(self, world: World) -> None:
        self.turn_at = None
        turn = self.turn(world)
        if self.killed:
            self.turn_at = self.up_at
            return
        desired = turn.view.desired if turn else None
        self.seen = desired.spec_revision if desired else None
        self.quiet_until = world.t + (turn.quiet_for.total_seconds() if turn else 60)

    def _needed(self, world: World) -> bool:
        self.watch = self.watch or ControlWatch(world.store, monotonic=lambda: world.t)
        try:
            snapshot = self.watch.refresh(frozenset({STREAM}))
        except StoreUnavailable:
            return False
        if STREAM in snapshot.problems:
            return False
        view, quiet = snapshot.views.get(STREAM), world.t < self.quiet_until
        return what_needs_attention(view, self.seen, quiet=quiet) is not None


@dataclass
class World:
    """From `run()`; `events` are what happens to it, at their seconds."""

    fates: list[Fate] = field(default_factory=list)
    events: list[tuple[float, Callable[[World], None]]] = field(default_factory=list)
    peace_at: float = 0
    """From then on no driver has a fate, and nothing else goes wrong."""

    def __post_init__(self) -> None:
        self.t = 0.0
        self.pids = 0
        self.offsets: dict[Who, float] = {}
        self.statuses_lost = False
        self.lives: Lives | None = None
        self.drivers: list[Driver] = []
        self.acting: list[Orderer] = []
        self.orders: list[float] = []
        self.people = 0
        self.store = Store(self)
        self.host = Host(self)
        self.airflow = Airflow(self._reconciler("Airflow"))
        self._events = sorted(self.events, key=lambda event: event[0])

    def _reconciler(self, who: str) -> Reconciler:
        return Reconciler(
            self.store, self.host, SPEC, who, jitter=lambda: 0.5, clock=lambda: self.clock("airflow")
        )

    def clock(self, who: Who) -> datetime:
        return BEGIN + timedelta(seconds=self.t + self.offsets.get(who, 0))

    def new_driver(self) -> Driver:
        fate = Fate() if self.t >= self.peace_at or not self.fates else self.fates.pop(0)
        driver = Driver(self, fate)
        self.drivers.append(driver)
        return driver

    def ordered(self, what: str) -> None:
        self.orders.append(self.t)

    def run(self, until: float) -> None:
        while self.t < until:
            self.step()

    def step(self) -> None:
        self.t += 1
        while self._events and self._events[0][0] <= self.t:
            self._events.pop(0)[1](self)
        for driver in self.drivers:
            driver.tick()
        self.host.tick()
        self.airflow.tick(self)

    def births(self, since: float, until: float) -> int:
        return sum(since <= driver.born < until for driver in self.drivers)

    def desire(
        self,
        state: str,
        *,
        by_hand: bool = False,
        killed_after: float | None = None,
        redeploy: bool = False,
    ) -> None:
        """A person orders; `by_hand`: and has the order carried out at once, as the command does."""
        try:
            found = load_desired(self.store, STREAM)
            if found is None:
                return
            revision = found.desired.spec_revision + 1
            changed = {"state": state, "spec_revision": revision, "who": "ada", "why": "to see"}
            if redeploy:
                changed["redeploy_revision"] = revision
            wanted = found.desired.model_copy(update=changed | {"at": self.clock("airflow")})
            write_desired(self.store, STREAM, wanted, replacing=found.etag)
        except (StoreUnavailable, PreconditionFailed):
            return
        self.people += 1
        if by_hand and len(self.acting) < MAX_NESTED:
            person = Orderer(self._reconciler("ada"))
            if killed_after is not None:
                self._events.append((self.t + killed_after, lambda _: setattr(person, "killed", True)))
                self._events.sort(key=lambda event: event[0])
            person.turn(self)
