"""A driver of the small world: a process from `millrace host exec` to its end, and what is to become of it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

from millrace.commands.host import UNCOUNTED_PAUSE
from millrace.control import exit_codes
from millrace.control.desired import load_desired, write_desired
from millrace.control.epochs import claim_epoch, newest_epoch
from millrace.control.history import load_history
from millrace.control.lives import MOST_LIVES, MOST_LIVES_OF_A_RETRY, next_life
from millrace.control.orders import Outcome, put_outcome, read_outcome
from millrace.control.preflight import Preflight, write_preflight
from millrace.control.status import DriverStatus, write_status
from millrace.store import PreconditionFailed, StoreUnavailable
from tests.unit.control.samples import SPEC

if TYPE_CHECKING:
    from tests.unit.control.small_world import World

BEGIN = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
STREAM = SPEC.name
BOOT = 15
"""Seconds from the claim of an epoch to the first micro-batch."""
HEARTBEAT = 5


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
