"""The stream host of the small world: supervisord with one program, and the launcher for it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from millrace.control import exit_codes
from millrace.control.process import NOT_RUNNING, HostUnavailable, ProcessInfo, ProcessState
from tests.unit.control.samples import SPEC
from tests.unit.control.small_driver import Driver

if TYPE_CHECKING:
    from tests.unit.control.small_world import World

STOP_MARGIN = 15
STOP_WITHIN = SPEC.stop_within.total_seconds()


class Killed(BaseException):
    """Whoever gave an order was killed before it was carried out."""


class Broken(AssertionError):
    """Something happened that must never happen."""


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
