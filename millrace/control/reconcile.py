"""One turn of supervision: look at a stream, decide, act, and write down what was done.

The order matters: a start is written to the history before it is ordered. A task that dies in between
leaves a start that did not happen, which costs one back-off; the other way round would lose the back-off
and make a crash loop hot.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from millrace.control.alerts import claimed, due, with_alert
from millrace.control.decide import Action, decide, has_ended
from millrace.control.desired import DesiredState, write_desired
from millrace.control.health import Health
from millrace.control.history import (
    Alert,
    History,
    circuit_can_close,
    with_gone,
    with_health,
    with_start,
    write_history,
)
from millrace.control.launcher import Launcher
from millrace.control.outdated import config_of, outdated
from millrace.control.process import LauncherError, ProcessInfo
from millrace.control.status import observe_status
from millrace.control.story import Message, story
from millrace.control.supervised import Supervised
from millrace.control.view import StreamView, read_view
from millrace.store import ObjectStore, PreconditionFailed

LEAST_QUIET = timedelta(seconds=15)
"""After a turn the triggerer holds still this long: what was just seen and left is not news."""
LEAST_WAIT = timedelta(seconds=1)
AFTER_A_FAILURE = timedelta(seconds=30)


@dataclass(frozen=True)
class Turn:
    """What was seen and done. `quiet_for`: how long to leave the stream alone unless it is changed."""

    view: StreamView
    action: Action
    quiet_for: timedelta
    messages: list[Message] = field(default_factory=list)
    alert: Alert | None = None
    """Claimed for whoever made this turn: to be sent, and its outcome to be kept."""

    @property
    def health(self) -> Health:
        return self.view.health


@dataclass(frozen=True)
class Reconciler:
    """Brings one stream towards its desired state, one turn at a time."""

    store: ObjectStore
    launcher: Launcher
    spec: Supervised
    """The catalog's entry: what is deployed when nothing is deployed yet."""
    who: str
    log_hint: str = ""
    """Where to read what the driver prints; for the person who reads a failure."""
    sends_alerts: bool = False
    """Whether whoever makes the turns sends the alerts that fall due."""
    last_lines: Callable[[bool], Sequence[str]] = lambda _: ()
    """What the driver printed last; if it was started again, what the one before it did."""
    jitter: Callable[[], float] = random.random
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    def turn(self) -> Turn:
        """Raises StoreUnavailable and ControlObjectError; then nothing was done."""
        messages: list[Message] = []
        view = read_view(self.store, self.spec.name, self.clock(), self.spec.rules)
        if view.desired is None:
            view = self._deploy(messages)
        self._note_difference(view, messages)
        process, host_problem = self._process()
        observed = view.observed(process, host_problem)
        action = decide(view.desired, observed, view.history, view.now, view.thresholds)
        before = view.history
        view, quiet_for = self._act(view, action, process, host_problem, messages)
        if action.until is not None:
            quiet_for = max(action.until - view.now, LEAST_WAIT)
        return Turn(view, action, quiet_for, messages, claimed(before, view.history))

    def _deploy(self, messages: list[Message]) -> StreamView:
        first = DesiredState(
            state="running",
            spec_revision=1,
            config=config_of(self.spec),
            who=self.who,
            why="deployed for the first time, from the catalog",
            at=self.clock(),
        )
        try:
            write_desired(self.store, self.spec.name, first, replacing=None)
            messages.append(
                Message(logging.INFO, f"{self.spec.name}: deployed for the first time (revision 1)")
            )
        except PreconditionFailed:
            messages.append(
                Message(logging.INFO, f"{self.spec.name}: somebody else deployed it at the same moment")
            )
        return read_view(self.store, self.spec.name, self.clock(), self.spec.rules)

    def _note_difference(self, view: StreamView, messages: list[Message]) -> None:
        if view.desired is None:
            return
        if differing := outdated(self.spec, view.desired, view.status):
            messages.append(
                Message(
                    logging.WARNING,
                    f"{self.spec.name}: outdated: what is there differs from what is deployed (revision "
                    f"{view.desired.spec_revision}): {'; '.join(differing)}. The stream goes on as deployed, until "
                    "somebody orders redeploy",
                )
            )

    def _process(self) -> tuple[ProcessInfo | None, str | None]:
        try:
            return self.launcher.state(self.spec.name), None
        except LauncherError as error:
            return None, str(error)

    def _act(
        self,
        view: StreamView,
        action: Action,
        process: ProcessInfo | None,
        host_problem: str | None,
        messages: list[Message],
    ) -> tuple[StreamView, timedelta]:
        name = self.spec.name
        history = view.history
        if view.desired and view.desired.state == "stopped" and process is not None and has_ended(process):
            history = with_gone(history, view.desired)
        health = replace(view, history=history).health
        if host_problem and not health.healthy:
            # The report of the shift is made from the history: it must name the cause as well.
            health = replace(health, reason=f"{health.reason}; and {host_problem}")
        history = with_health(history, view.now, health)
        if circuit_can_close(history, view.now):
            history = history.model_copy(update={"circuit": None})
        if action.kind in ("start", "restart"):
            history = with_start(
                history,
                view.now,
                kind="start" if action.kind == "start" else "restart",
                reason=action.reason,
                epoch_before=view.newest_epoch,
                spec_revision=view.desired.spec_revision if view.desired else 0,
                jitter=self.jitter(),
                worked_for=view.status.status.worked_for if view.status else timedelta(0),
                rules=self.spec.restarts,
            )
        if self.sends_alerts:
            alert = due(view.desired, health, history, view.now, view.thresholds, self.spec.alerts)
            # Claimed before it is sent, like a start: a task that dies in between repeats nothing.
            history = with_alert(history, alert) if alert else history
        before = view.history
        try:
            view = self._keep(view, history)
        except PreconditionFailed:
            text = f"{name}: another task supervises it at this moment; leaving the turn to that one"
            messages.append(Message(logging.WARNING, text))
            return view, LEAST_QUIET
        messages += story(name, before, view.history, view.now)
        if action.is_order:
            return view, self._order(view, action, messages)
        level = logging.INFO if view.health.healthy else logging.WARNING
        messages.append(Message(level, f"{name} is {view.health}"))
        if action.kind == "wait":
            messages.append(Message(level, f"{name}: waiting: {action.reason}"))
        self._note_a_restart_by_the_host(view, messages)
        return view, LEAST_QUIET

    def _note_a_restart_by_the_host(self, view: StreamView, messages: list[Message]) -> None:
        """A driver that Airflow did not order took over from one that crashed: say what that one said."""
        if view.status is None or view.status.status.state != "starting":
            return
        epoch, last = view.status.status.driver_epoch, view.history.last_start
        before = observe_status(self.store, self.spec.name, epoch - 1)
        if before is None or (last is not None and epoch <= last.epoch_before + 1):
            return
        ended = before.status
        words = ended.error or ("it said nothing: it was killed" if not ended.ended else ended.state)
        messages.append(
            Message(
                logging.WARNING,
                f"{self.spec.name}: the stream host started it again after driver epoch {epoch - 1} had ended: "
                f"{words}. What it printed: {self.log_hint}",
            )
        )
        messages += _printed(self.last_lines(True))

    def _keep(self, view: StreamView, history: History) -> StreamView:
        if history == view.history:
            return view
        etag = write_history(self.store, self.spec.name, history, replacing=view.history_etag)
        return replace(view, history=history, history_etag=etag)

    def _order(self, view: StreamView, action: Action, messages: list[Message]) -> timedelta:
        name = self.spec.name
        within = view.thresholds.stop_within
        if action.kind != "stop" and view.status is not None and view.health.state in ("failed", "silent"):
            messages += _printed(self.last_lines(False))
        try:
            if action.kind == "start":
                self.launcher.start(name)
            elif action.kind == "restart":
                self.launcher.restart(name, within)
            else:
                self.launcher.stop(name, within)
        except LauncherError as error:
            messages.append(
                Message(logging.ERROR, f"{name}: to {action.kind} it ({action.reason}) failed: {error}")
            )
            return AFTER_A_FAILURE
        done = {"start": "started", "restart": "restarted", "stop": "stopped"}[action.kind]
        text = f"{name}: {done} on the stream host, because {action.reason}"
        last = view.history.last_start
        if action.kind != "stop" and last is not None:
            text += f" (attempt {last.attempt}; the next, if any, not before {last.not_before:%H:%M:%S} UTC)"
            text += f". What it prints: {self.log_hint}" if self.log_hint else ""
        messages.append(Message(logging.WARNING if view.newest_epoch else logging.INFO, text))
        return LEAST_QUIET


def _printed(lines: Sequence[str]) -> list[Message]:
    told = ["what the driver printed last:", *(f"  | {line}" for line in lines)] if lines else []
    return [Message(logging.INFO, text) for text in told]
