"""A small world to supervise in: a store, a stream host, drivers, Airflow, a person, and clocks that step.

What decides is the project's own (`Reconciler`, `what_needs_attention`, `ControlWatch`, `next_life`); what is decided
about is simulated, second by second. While a launcher waits for a driver to end, the world goes on under it, and
whoever gave the order may be killed there.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal

from millrace.commands.host import UNCOUNTED_PAUSE
from millrace.control import exit_codes
from millrace.control.attention import what_needs_attention
from millrace.control.desired import load_desired, write_desired
from millrace.control.epochs import claim_epoch, newest_epoch
from millrace.control.history import load_history
from millrace.control.lives import MOST_LIVES, MOST_LIVES_OF_A_RETRY, Lives, next_life
from millrace.control.orders import Outcome, put_outcome, read_outcome
from millrace.control.preflight import Preflight, write_preflight
from millrace.control.process import NOT_RUNNING, HostUnavailable, ProcessInfo, ProcessState
from millrace.control.reconcile import Reconciler
from millrace.control.status import DriverStatus, write_status
from millrace.control.watch import ControlWatch
from millrace.store import MemoryStore, PreconditionFailed, StoreUnavailable
from tests.unit.control.samples import SPEC

BEGIN = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
STREAM = SPEC.name
BOOT = 15
"""Seconds from the claim of an epoch to the first micro-batch."""
HEARTBEAT = 5
STOP_MARGIN = 15
STOP_WITHIN = SPEC.stop_within.total_seconds()
WAKE = 3
"""Seconds from a trigger's event to the task's turn."""
MAX_NESTED = 2

Who = Literal["store", "host", "driver", "airflow"]


class Killed(BaseException):
    """Whoever gave an order was killed before it was carried out."""


class Broken(AssertionError):
    """Something happened that must never happen."""


@dataclass(frozen=True)
class Fate:
    """What becomes of a driver `after` so many seconds of life: nothing, an exit code, or a way to hang."""

    after: float = 0
    kind: Literal["lives", "crash", "hangs", "deaf", "mute", "lingers"] = "lives"
    """hangs: does nothing any more, and hears nothing. deaf: works, but ends at nothing but SIGKILL. mute: works, but
    its statuses are lost. lingers: says that it ends, and its process does not."""
    code: int = 1
    stops_in: float = 3
    """Seconds from being asked to stop to the end of its micro-batch."""
    tries_for: float = 3
    """Seconds that its preflight takes, if it begins with one."""


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


class Driver:
    """A process, from `millrace host exec` to its end."""

    def __init__(self, world: World, fate: Fate) -> None:
        self.world, self.fate = world, fate
        world.pids += 1
        self.pid = world.pids
        self.born = world.t
        self.epoch: int | None = None
        self.code: int | None = None
        self.orphaned_at: float | None = None
        self._begin_at: float | None = None
        self._tries_since: float | None = None
        self.claimed = 0.0
        self._stop_at: float | None = None
        self.said_all = False
        self._started = BEGIN
        self._revision = 0

    @property
    def orphan(self) -> bool:
        """Whether it has outlived its host."""
        return self.orphaned_at is not None

    @property
    def alive(self) -> bool:
        return self.code is None

    def is_(self, kind: str) -> bool:
        due = self.born + self.fate.after
        return self.fate.kind == kind and due < self.world.peace_at and self.world.t >= due

    @property
    def running(self) -> bool:
        return (
            self.alive
            and not self.said_all
            and self.epoch is not None
            and self.world.t - self.claimed >= BOOT
        )

    def terminate(self) -> None:
        if self._stop_at is None and not self.said_all and not self.is_("hangs") and not self.is_("deaf"):
            self._stop_at = self.world.t + (self.fate.stops_in if self.epoch is not None else 0)

    def kill(self) -> None:
        self.code = -9 if self.code is None else self.code

    def tick(self) -> None:
        if not self.alive or self.said_all or self.is_("hangs"):
            return None
        if self.is_("crash") and (self._begin_at is not None or self._uncounted()):
            return self._end("failed", self.fate.code)
        if self._stop_at is not None and self.world.t >= self._stop_at:
            return self._end("stopped", exit_codes.STOPPED)
        try:
            self._go_on()
        except StoreUnavailable:
            if self.epoch is None and self.world.t - self.born > 60:
                self.code = 1
        return None

    def _uncounted(self) -> bool:
        """Whether a crash before its life was counted is over: `millrace host exec` takes its time for it."""
        return self.world.t - self.born >= UNCOUNTED_PAUSE

    def _go_on(self) -> None:
        store = self.world.store
        if self.epoch is None:
            if self._tries_since is not None:
                self._try(self.world.t - self._tries_since)
            elif self._begin_at is None and self.world.t - self.born >= 1:
                self._exec()
            if self.alive and self._begin_at is not None and self.world.t >= self._begin_at + 2:
                self.epoch = claim_epoch(
                    store, STREAM, spec_revision=self._revision, host="here", pid=self.pid
                )
                self.claimed, self._started = self.world.t, self.world.clock("driver")
                self._say("starting")
        elif (self.world.t - self.claimed) % HEARTBEAT == 0:
            self._say("stopping" if self._stop_at is not None else "running" if self.running else "starting")
            if self.is_("deaf"):
                return
            wanted = load_desired(store, STREAM)
            if wanted is not None and wanted.desired.state == "stopped":
                self.terminate()
            if newest_epoch(store, STREAM, known=self.epoch) > self.epoch:
                self._end("fenced", exit_codes.FENCED)

    def _exec(self) -> None:
        """`millrace host exec`, in short."""
        world = self.world
        stored, last = load_desired(world.store, STREAM), load_history(world.store, STREAM).history.last_start
        if stored is None or stored.desired.state == "stopped":
            self.code = exit_codes.STOPPED if stored else exit_codes.BAD_CONFIGURATION
            return
        self._revision = stored.desired.spec_revision
        order = f"{last.at if last else None} of revision {self._revision}"
        most = MOST_LIVES if last is None or last.attempt == 1 else MOST_LIVES_OF_A_RETRY
        world.lives, delay = next_life(world.lives, order, world.clock("host"), most)
        if delay is None:
            self.code = exit_codes.GAVE_UP
            return
        redeploy = stored.desired.redeploy_revision
        if redeploy and read_outcome(world.store, STREAM, redeploy) is None:
            self._tries_since = world.t
            return
        self._begin_at = world.t + delay

    def _try(self, tried_for: float) -> None:
        """The preflight of a redeploy, in short."""
        world, within = self.world, SPEC.preflight_within.total_seconds()
        over = tried_for >= min(self.fate.tries_for, within)
        if over:
            self._tries_since, self._begin_at = None, world.t
            if not self._tried("done" if tried_for < within else "refused"):
                self.code = 1
                return
        if (over or tried_for % HEARTBEAT == 0) and not self.is_("mute") and not world.statuses_lost:
            said = Preflight(
                revision=self._revision,
                host="here",
                pid=self.pid,
                state="ended" if over else "trying",
                for_seconds=tried_for,
            )
            with suppress(StoreUnavailable):
                write_preflight(world.store, STREAM, said)

    def _tried(self, outcome: Literal["done", "refused"]) -> bool:
        """Keep the outcome, and put the old version back if that is a refusal; False when the store does not let it."""
        store, now = self.world.store, self.world.clock("host")
        try:
            put_outcome(store, STREAM, self._revision, Outcome(outcome=outcome, says="", at=now))
            stored = load_desired(store, STREAM)
            if outcome == "done" or stored is None or stored.desired.redeploy_revision != self._revision:
                return True
            back = stored.desired.model_copy(
                update={
                    "spec_revision": stored.desired.spec_revision + 1,
                    "redeploy_revision": 0,
                    "who": "preflight",
                }
            )
            write_desired(store, STREAM, back, replacing=stored.etag)
        except (StoreUnavailable, PreconditionFailed):
            return False
        self._revision = back.spec_revision
        self.world.people += 1
        return True

    def _end(self, state: str, code: int) -> None:
        self.said_all = self.is_("lingers")
        self.code = None if self.said_all else code
        if self.epoch is not None:
            with suppress(StoreUnavailable):
                self._say(state, code)

    def _say(self, state: str, code: int | None = None) -> None:
        if self.is_("mute") or self.world.statuses_lost:
            return
        now = self.world.clock("driver")
        status = DriverStatus(
            stream=STREAM,
            driver_epoch=self.epoch or 1,
            spec_revision=self._revision,
            host="here",
            pid=self.pid,
            state=state,
            started_at=self._started,
            heartbeat_at=now,
            last_idle_at=now if state == "running" else None,
            lag=0,
            still_seconds=0,
            exit_code=code,
            host_gone_at=now - timedelta(seconds=self.world.t - self.orphaned_at) if self.orphan else None,
        )
        write_status(self.world.store, status)


class Host:
    """supervisord with one program, and the launcher for it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.down = False
        self.incarnation = 0
        self.driver: Driver | None = None
        self._stopping_since: float | None = None
        self._ended_at: datetime | None = None
        self._began_at: datetime | None = None
        self._stopped = True

    def tick(self) -> None:
        if self.down or self.driver is None:
            return
        if self._stopping_since is not None and self.driver.alive:
            if self.world.t - self._stopping_since > STOP_WITHIN + STOP_MARGIN:
                self.driver.kill()
            return
        if not self.driver.alive and not self._stopped:
            self._ended_at = self._ended_at or self.world.clock("host")
            if self._stopping_since is not None:
                self._stopped, self._stopping_since = True, None
            elif self.driver.code not in exit_codes.NOT_RESTARTED:
                self._spawn()

    def crash(self) -> None:
        """Killed itself: its drivers live on, and the next one knows nothing of them."""
        self.down = True
        if self.driver is not None:
            self.driver.orphaned_at = self.world.t
        self.driver, self._stopping_since, self._stopped = None, None, True
        self._ended_at = self._began_at = None

    def _spawn(self) -> None:
        if self.driver is not None and self.driver.alive:
            raise Broken("a second driver was started beside one that lives")
        self.driver = self.world.new_driver()
        self._began_at, self._ended_at, self._stopped = self.world.clock("host"), None, False

    def state(self, stream: str) -> ProcessInfo:
        if self.down:
            raise HostUnavailable("the host is away")
        state, pid, since, code = ProcessState.STOPPED, None, self._ended_at, None
        if self.driver is not None and self.driver.alive:
            state = ProcessState.RUNNING if self._stopping_since is None else ProcessState.STOPPING
            pid, since = self.driver.pid, self._began_at
        elif self.driver is not None and not self._stopped:
            state = ProcessState.EXITED if self._stopping_since is None else ProcessState.STOPPING
            code = self.driver.code
        return ProcessInfo(stream, state, pid, since, self.world.clock("host"), code)

    def start(self, stream: str) -> None:
        found = self.state(stream)
        self.world.ordered("start")
        if found.state is ProcessState.STOPPING:
            raise Broken("start was ordered while the old driver ends, and may still be committing")
        if found.state not in NOT_RUNNING:
            return
        if any(driver.alive and not driver.orphan for driver in self.world.drivers):
            raise Broken("start was ordered while the old driver may still be committing")
        self._spawn()

    def stop(self, stream: str, within: timedelta) -> None:
        deadline = self.world.t + within.total_seconds()
        me = self.world.acting[-1]
        self.state(stream)
        if self.driver is not None and not self._stopped:
            self._stopping_since = self._stopping_since or self.world.t
            self.driver.terminate()
        while self.state(stream).state not in NOT_RUNNING:
            if self.world.t > deadline and self.driver is not None:
                self.driver.kill()
            self.world.step()
            if me.killed:
                raise Killed

    def restart(self, stream: str, within: timedelta) -> None:
        self.stop(stream, within)
        if self.world.acting[-1].killed:
            raise Killed
        self.start(stream)


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
