"""How a stream is doing, judged by its progress and not by its being alive.

Pure: what a driver last said about itself, and the store's clock, in; one word, a reason and numbers out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from millrace.catalog import StreamSpec
from millrace.control import exit_codes
from millrace.control.desired import DesiredState
from millrace.control.status import DriverStatus, StatusObservation

HealthState = Literal[
    "idle",
    "running",
    "lagging",
    "stalled",
    "starting",
    "stopping",
    "stopped",
    "failed",
    "fenced",
    "silent",
]
"""idle: nothing waits. lagging: far behind, but moving. stalled: input waits and nothing moves.
silent: no heartbeat, so nothing is known."""

MOVING: frozenset[str] = frozenset({"idle", "running", "lagging"})
"""States of a driver that does its work."""

Number = int | float | str | None


@dataclass(frozen=True)
class Thresholds:
    """From which point on a quantity is a finding."""

    silent_after: timedelta = timedelta(seconds=30)
    """Six missed heartbeats: one slow PUT, or a stop-the-world collection, is not a death."""
    start_within: timedelta = timedelta(seconds=90)
    """From launch to the first batch: 13-18 s measured on 2 idle cores, up to 60 s on busy ones."""
    stop_within: timedelta = timedelta(seconds=60)
    stalled_after: timedelta = timedelta(minutes=2)
    lagging_records: int = 5000

    @classmethod
    def of(cls, spec: StreamSpec) -> Thresholds:
        """The thresholds that fit a stream's own pace."""
        return cls(
            silent_after=max(cls.silent_after, 6 * spec.heartbeat),
            stop_within=spec.stop_within,
            stalled_after=max(cls.stalled_after, 20 * spec.trigger),
            lagging_records=10 * spec.max_messages_per_batch,
        )


@dataclass(frozen=True)
class Health:
    """One judgement, with its reason in words and the numbers behind it."""

    state: HealthState
    reason: str
    healthy: bool
    """Whether the stream does what is desired of it; a start counts against it until it moves."""
    numbers: dict[str, Number] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.state}: {self.reason}"


def assess(
    desired: DesiredState | None,
    status: StatusObservation | None,
    now: datetime,
    thresholds: Thresholds,
) -> Health:
    """The health of a stream from its newest driver's status; `now` is by the store's clock.

    Spans inside a driver's life are taken between its own time stamps, so that its clock may be wrong.
    """
    running_desired = desired is not None and desired.state == "running"
    if status is None:
        return Health("stopped", "no driver of this stream has ever reported", not running_desired)
    state, reason = _judge(running_desired, status.status, now - status.written_at, thresholds)
    healthy = state in MOVING if running_desired else state in ("stopped", "stopping", "fenced")
    return Health(state, reason, healthy, _numbers(status.status, now - status.written_at))


def _judge(
    running_desired: bool, status: DriverStatus, age: timedelta, thresholds: Thresholds
) -> tuple[HealthState, str]:
    who = f"driver epoch {status.driver_epoch} (pid {status.pid} on {status.host})"
    if status.state == "failed":
        return "failed", f"{who} failed: {status.error or _exit(status)}"
    if status.state == "fenced":
        return "fenced", f"{who} gave way to a newer driver"
    if status.state == "stopped":
        return "stopped", f"{who} stopped: {_exit(status)}"
    if age > thresholds.silent_after:
        return "silent", (
            f"{who} has not written for {in_words(age)} (it should at least every "
            f"{in_words(thresholds.silent_after)}); it is dead, hangs, or cannot reach the store"
        )
    if status.state == "stopping" or not running_desired:
        return "stopping", f"{who} finishes its micro-batch and ends"
    alive_for = status.heartbeat_at - status.started_at
    if status.state == "starting":
        if alive_for > 2 * thresholds.start_within:
            return "stalled", f"{who} has been starting for {in_words(alive_for)} and gets no further"
        return "starting", f"{who} has been starting for {in_words(alive_for)}"
    return _progress(status, who, thresholds)


def _progress(status: DriverStatus, who: str, thresholds: Thresholds) -> tuple[HealthState, str]:
    moments = [status.started_at, status.last_progress_at, status.last_idle_at]
    quiet_for = status.heartbeat_at - max(moment for moment in moments if moment is not None)
    if status.lag is None:
        progressed = status.last_progress_at or status.started_at
        word: HealthState = "idle" if status.last_idle_at and status.last_idle_at > progressed else "running"
        return word, f"{who}; it reports no lag, so a stalled stream cannot be told from an idle one"
    if status.lag <= 0:
        return "idle", f"{who} has read everything there is"
    if quiet_for > thresholds.stalled_after:
        return "stalled", (
            f"{status.lag:,} records wait and nothing has moved for {in_words(quiet_for)}; {who} is alive "
            f"but stuck at batch {status.last_batch_id}"
        )
    if status.lag > thresholds.lagging_records:
        return "lagging", f"{status.lag:,} records wait; {who} works through them"
    return "running", f"{who} keeps up; {status.lag:,} records wait"


def _exit(status: DriverStatus) -> str:
    return "no exit code known" if status.exit_code is None else exit_codes.in_words(status.exit_code)


def _numbers(status: DriverStatus, age: timedelta) -> dict[str, Number]:
    return {
        "driver_epoch": status.driver_epoch,
        "heartbeat_age_seconds": round(age.total_seconds(), 1),
        "lag": status.lag,
        "batches": status.batches,
        "records": status.records,
        "facts": status.facts,
        "rejected": sum(status.rejected.values()),
        "put_aside": status.rejected.get("poisoned", 0),
        "batch_seconds_p50": status.batch_seconds_p50,
        "batch_seconds_p99": status.batch_seconds_p99,
        "watermark": status.watermark.isoformat() if status.watermark else None,
    }


def in_words(span: timedelta) -> str:
    """'45 s', '12 min', '3.5 h': a span as a person says it."""
    seconds = span.total_seconds()
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
