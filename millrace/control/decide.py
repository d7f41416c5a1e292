"""What to do about a stream now: one pure function, tested over every combination.

The border to the stream host: the host restarts a crashed driver with the same spec, a few times; the
decision here is whether there should be a driver at all, and what to do when the host has given up, when
a driver is silent, or when it ended on purpose although it should run.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from millrace.control import exit_codes
from millrace.control.desired import DesiredState
from millrace.control.health import Health, Thresholds, assess, in_words, is_dated_ahead
from millrace.control.history import History, Start
from millrace.control.preflight import PreflightObservation
from millrace.control.process import NOT_RUNNING, ProcessInfo, ProcessState
from millrace.control.status import StatusObservation
from millrace.control.store_clock import TOLERANCE, passed

ActionKind = Literal["leave", "wait", "start", "restart", "stop"]

HOST_GRACE = timedelta(seconds=15)
"""How long to leave the host alone that is about to start or stop a process by itself."""
LONGEST_HOST_WAIT = timedelta(minutes=2)
"""The host cannot be watched from the store, so that each look for it costs an Airflow task."""
CRASH_GRACE = timedelta(seconds=30)
"""After a crash, judged without the host: it restarts a driver by itself, in a crash loop after up to 16 s."""
EXIT_GRACE = timedelta(seconds=60)
"""From a driver's last word to the end of its process; a JVM that does not end is killed after it."""


@dataclass(frozen=True)
class Action:
    """`leave`: nothing to do. `wait`: nothing to do before `until`. The rest is an order to the launcher."""

    kind: ActionKind
    reason: str
    until: datetime | None = None

    @property
    def is_order(self) -> bool:
        return self.kind in ("start", "restart", "stop")


@dataclass(frozen=True)
class Observed:
    """A stream as seen from outside; all times are by the store's clock, and so is `now` of a decision."""

    status: StatusObservation | None
    newest_epoch: int
    desired_at: datetime | None = None
    """When the desired state was written; None: unknown, then its own word counts."""
    process: ProcessInfo | None = None
    """None when the host was not asked, or did not answer (then `host_problem` says so)."""
    host_problem: str | None = None
    preflight: PreflightObservation | None = None
    """The last word of the process that tried the newest redeploy."""


def decide(
    desired: DesiredState | None,
    observed: Observed,
    history: History,
    now: datetime,
    thresholds: Thresholds | None = None,
) -> Action:
    """The one thing to do now. Without the host's word a driver is judged by its status alone."""
    thresholds = thresholds or Thresholds()
    if desired is None:
        return Action("leave", "the stream has not been deployed")
    health = assess(desired, observed.status, now, thresholds, observed.preflight)
    if desired.state == "stopped":
        return _towards_stopped(desired, observed, health, history, now, thresholds)
    if health.state == "finished" and not _outdated(desired, observed.status):
        return Action("leave", health.reason)
    if observed.host_problem:
        return _without_host(desired, observed, health, history, now)
    if observed.process is None:
        return _by_status(desired, observed, health, history, now, thresholds)
    return _by_process(desired, observed.process, observed, health, history, now, thresholds)


def has_ended(process: ProcessInfo) -> bool:
    """Whether the host has seen the process end and leaves it at that."""
    left_alone = process.exit_code is None or process.exit_code in exit_codes.NOT_RESTARTED
    return process.state in NOT_RUNNING and left_alone


def _towards_stopped(
    desired: DesiredState,
    observed: Observed,
    health: Health,
    history: History,
    now: datetime,
    thresholds: Thresholds,
) -> Action:
    process = observed.process
    # A driver's own last word is not enough: a process may hang after it, and one that hangs says nothing.
    if process.state in NOT_RUNNING if process is not None else history.is_gone(desired):
        return Action("leave", f"stopped, as {desired.who} asked: {desired.why}")
    asked_at = observed.desired_at or desired.at
    deadline = asked_at + thresholds.stop_within
    if not passed(asked_at, thresholds.stop_within, now):
        return Action("wait", "the driver finishes its micro-batch and ends by itself", deadline)
    if observed.host_problem:
        reason = f"whether its process is gone only its host can say, but {observed.host_problem}; {health}"
        return Action("wait", reason, now + LONGEST_HOST_WAIT)
    if process is None:
        return Action(
            "stop",
            f"asked to stop {in_words(now - asked_at)} ago, and its host has yet to say that it is gone",
        )
    if process.state is ProcessState.STOPPING:
        return Action("wait", "the host is ending the process", now + HOST_GRACE)
    return Action("stop", f"asked to stop {in_words(now - asked_at)} ago and still {process.state}")


def _without_host(
    desired: DesiredState, observed: Observed, health: Health, history: History, now: datetime
) -> Action:
    if _outdated(desired, observed.status) and _alive(health):
        reason = f"{_in_words_outdated(desired, observed.status)}, but {observed.host_problem}"
        return Action("wait", reason, now + LONGEST_HOST_WAIT)
    without_host = observed.status.status.without_host_for if observed.status else None
    if _alive(health) and without_host is None:
        return Action("leave", f"the driver does its work ({health}), though {observed.host_problem}")
    known = history.last_health
    down_for = now - known.at if known is not None and not known.healthy else without_host or timedelta(0)
    pause = min(max(down_for / 2, HOST_GRACE), LONGEST_HOST_WAIT)
    return Action("wait", f"{health}; and {observed.host_problem}", now + pause)


def _by_status(
    desired: DesiredState,
    observed: Observed,
    health: Health,
    history: History,
    now: datetime,
    thresholds: Thresholds,
) -> Action:
    if health.state == "trying":
        return Action("wait", health.reason, now + HOST_GRACE)
    if pending := _start_under_way(observed, history, now, thresholds):
        return pending
    if health.state == "silent":
        return (
            _perhaps_only_the_clock(observed, history, now, thresholds)
            or _backed_off(desired, history, now)
            or Action("restart", health.reason)
        )
    if health.state in ("stopped", "finished", "failed", "fenced"):
        if _host_is_likely_at_it(observed.status, now):
            until = now + CRASH_GRACE
            return Action("wait", f"{health}; the stream host restarts a crash by itself", until)
        return _backed_off(desired, history, now) or Action("start", f"it should run, but {health.reason}")
    if _outdated(desired, observed.status):
        return _renewed(desired, observed, history, now)
    if _host_is_gone(observed.status):
        reason = f"{health.reason}, but the stream host that started it is gone, and nobody keeps it"
        return _backed_off(desired, history, now) or Action("start", reason)
    return Action("leave", health.reason)


def _by_process(
    desired: DesiredState,
    process: ProcessInfo,
    observed: Observed,
    health: Health,
    history: History,
    now: datetime,
    thresholds: Thresholds,
) -> Action:
    alive_elsewhere = _alive(health) and not _speaks_for(process, observed.status)
    match process.state:
        case ProcessState.STOPPING | ProcessState.BACKOFF | ProcessState.STARTING | ProcessState.UNKNOWN:
            note = f" ({process.note})" if process.note else ""
            return Action(
                "wait", f"the stream host is at it: the process is {process.state}{note}", now + HOST_GRACE
            )
        case ProcessState.RUNNING:
            return _of_a_running_process(desired, process, observed, health, history, now, thresholds)
    ended = _how_it_ended(process)
    if process.exit_code is not None and process.exit_code not in exit_codes.NOT_RESTARTED:
        return Action("wait", f"{ended}; the stream host is about to start it again", now + HOST_GRACE)
    outdated = _outdated(desired, observed.status)
    kept_elsewhere = alive_elsewhere and not _host_is_gone(observed.status)
    if process.exit_code == exit_codes.FENCED and kept_elsewhere and not outdated:
        return Action(
            "leave", f"the driver here ended, since a newer one elsewhere holds the stream: {health.reason}"
        )
    if wait := _backed_off(desired, history, now):
        return wait
    if alive_elsewhere:
        # Its process cannot be seen from the host any more (the host was killed and started anew), so it
        # cannot be stopped either: the epoch of the driver started now makes it end itself.
        return Action(
            "start",
            f"{health.reason}, but not under the stream host ({ended}); "
            "the one started there takes over and the old one ends itself (fencing)",
        )
    said = f": {health.reason}" if observed.status else ""
    return Action("start", f"it should run, but {ended}{said}")


def _of_a_running_process(
    desired: DesiredState,
    process: ProcessInfo,
    observed: Observed,
    health: Health,
    history: History,
    now: datetime,
    thresholds: Thresholds,
) -> Action:
    age = _age_of(process, history, now)
    if not _speaks_for(process, observed.status):
        tried = observed.preflight
        if health.state == "trying" and tried is not None and tried.preflight.pid == process.pid:
            return Action("wait", health.reason, now + HOST_GRACE)
        if tried is not None and tried.ended_by(process.pid):
            age = min(age, max(now - tried.written_at, timedelta(0)))
        if age < thresholds.start_within:
            return Action(
                "wait",
                f"process {process.pid} started {in_words(age)} ago and has yet to report",
                now + thresholds.start_within - age,
            )
        return _backed_off(desired, history, now) or Action(
            "restart", f"process {process.pid} has run for {in_words(age)} without a word"
        )
    if health.state == "silent":
        return (
            _perhaps_only_the_clock(observed, history, now, thresholds)
            or _backed_off(desired, history, now)
            or Action("restart", health.reason)
        )
    if health.state in ("stopped", "finished", "failed", "fenced", "trying"):  # trying: another process is
        since_last_word = now - observed.status.written_at if observed.status else timedelta(0)
        if timedelta(0) <= since_last_word < EXIT_GRACE:
            return Action(
                "wait", f"{health.reason}; its process is about to end", now + EXIT_GRACE - since_last_word
            )
        return _backed_off(desired, history, now) or Action(
            "restart", f"{health.reason}, but its process {process.pid} does not end"
        )
    if _outdated(desired, observed.status):
        return _renewed(desired, observed, history, now)
    return Action("leave", health.reason)


def _age_of(process: ProcessInfo, history: History, now: datetime) -> timedelta:
    """How long a process has run, by its host's clock; if that was set back, since supervision has known that
    the stream is not well."""
    age = process.host_now - process.since if process.since else timedelta(0)
    if age >= -TOLERANCE:
        return age
    known = history.last_health
    return now - known.at if known is not None and not known.healthy else timedelta(0)


def _perhaps_only_the_clock(
    observed: Observed, history: History, now: datetime, thresholds: Thresholds
) -> Action | None:
    """A last word that is dated ahead may be of a driver at work, between two heartbeats: look again first."""
    status = observed.status
    if status is None or not is_dated_ahead(now - status.written_at, thresholds):
        return None
    known = history.last_health
    if known is not None and not known.healthy and passed(known.at, thresholds.silent_after, now):
        return None
    until = now + thresholds.silent_after
    return Action("wait", "the store's clock was set back; a driver at work writes again in a moment", until)


def _speaks_for(process: ProcessInfo, status: StatusObservation | None) -> bool:
    """Whether the newest status was written by this process; a driver keeps its pid through exec."""
    return status is not None and process.pid is not None and status.status.pid == process.pid


def _outdated(desired: DesiredState, status: StatusObservation | None) -> bool:
    """Whether the driver began by an earlier desired state: what was ordered since then needs a new one."""
    return status is not None and status.status.spec_revision < desired.spec_revision


def _renewed(desired: DesiredState, observed: Observed, history: History, now: datetime) -> Action:
    reason = _in_words_outdated(desired, observed.status)
    return _backed_off(desired, history, now) or Action("restart", reason)


def _in_words_outdated(desired: DesiredState, status: StatusObservation | None) -> str:
    of = f" of revision {status.status.spec_revision}" if status else ""
    return (
        f"its driver{of} is to be followed by one of revision {desired.spec_revision} "
        f"({desired.who}: {desired.why})"
    )


def _host_is_gone(status: StatusObservation | None) -> bool:
    """Whether the driver has outlived the stream host that started it, as it says itself."""
    return status is not None and status.status.host_gone_at is not None


def _alive(health: Health) -> bool:
    return health.state in ("starting", "running", "idle", "lagging", "stalled", "stopping")


def _start_under_way(
    observed: Observed, history: History, now: datetime, thresholds: Thresholds
) -> Action | None:
    last, tried = history.last_start, observed.preflight
    if last is None:
        return None
    # The driver of a redeploy begins when its version has been tried, which may take long.
    began = tried.written_at if tried is not None and tried.written_at > last.at else last.at
    spoken = observed.status.status.driver_epoch if observed.status else 0
    if spoken > last.epoch_before or passed(began, thresholds.start_within, now):
        return None
    if began == last.at and _left_half_done(observed.status, last, now):
        return None
    return Action(
        "wait",
        f"started {in_words(now - began)} ago, the driver has yet to report",
        began + thresholds.start_within,
    )


def _left_half_done(status: StatusObservation | None, last: Start, now: datetime) -> bool:
    """Whether a restart stopped the driver and nothing came after: whoever was at it may have been killed in
    between. A driver claims its epoch within seconds, so somebody should look at the host before a JVM's time
    to start is over."""
    return (
        last.kind == "restart"
        and status is not None
        and status.status.ended
        and status.written_at >= last.at
        and passed(status.written_at, CRASH_GRACE, now)
    )


def _host_is_likely_at_it(status: StatusObservation | None, now: datetime) -> bool:
    if status is None or status.status.state != "failed":
        return False
    deliberate = status.status.exit_code in exit_codes.NOT_RESTARTED
    return not deliberate and not passed(status.written_at, CRASH_GRACE, now)


def _backed_off(desired: DesiredState, history: History, now: datetime) -> Action | None:
    last = history.last_start
    # Whoever changed the desired state since then wants to see at once whether that helps.
    if last is None or desired.spec_revision != last.spec_revision:
        return None
    if passed(last.at, timedelta(seconds=last.backoff_seconds), now):
        return None
    if history.circuit is not None:
        return Action(
            "wait",
            f"the circuit is open since {history.circuit.opened_at:%H:%M} UTC ({history.circuit.failures} starts "
            f"did not last); the next try is at {last.not_before:%H:%M:%S} UTC, or at once when somebody orders "
            "start, restart or redeploy",
            last.not_before,
        )
    return Action(
        "wait",
        f"attempt {last.attempt} was {in_words(now - last.at)} ago; the next is at "
        f"{last.not_before:%H:%M:%S} UTC (back-off {last.backoff_seconds:.0f} s)",
        last.not_before,
    )


def _how_it_ended(process: ProcessInfo) -> str:
    if process.state is ProcessState.FATAL:
        return f"the stream host gave up starting it ({process.note or 'FATAL'})"
    if process.since is None:
        return "it was never started on this stream host"
    if process.state is ProcessState.STOPPED:
        return "its process was stopped on the stream host"
    ended = "unknown" if process.exit_code is None else exit_codes.in_words(process.exit_code)
    return f"its process ended ({ended})"
