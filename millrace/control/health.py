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
from millrace.control.feed_health import feed_numbers, feed_progress
from millrace.control.preflight import PreflightObservation
from millrace.control.spans import in_words as in_words
from millrace.control.status import DriverStatus, StatusObservation
from millrace.control.waiting import comes_down
from millrace.supervision import LAG_SPAN, LONGEST_LAGGING, Rules

HealthState = Literal[
    "idle",
    "running",
    "lagging",
    "stalled",
    "trying",
    "starting",
    "stopping",
    "stopped",
    "finished",
    "failed",
    "fenced",
    "silent",
]
"""idle: nothing waits. lagging: at work, and what waits has not become less for longer than it may take.
stalled: input waits and nothing moves. silent: no heartbeat, so nothing is known. trying: there is no driver while a
redeploy's new version is tried. finished: a feed whose input has an
end has sent all of it."""

MOVING: frozenset[str] = frozenset({"idle", "running", "lagging", "finished"})
"""States of a driver that does its work, or a feed that has done it."""
KEEPS_UP: frozenset[str] = frozenset({"idle", "running", "finished"})
"""States of a driver that does all that is desired of it."""

GONE: frozenset[str] = frozenset({"stopped", "finished", "failed", "fenced", "silent"})
"""States of a driver that does nothing any more, or of which nothing is known."""

HEARTBEATS = 6
"""Missed, before somebody is silent: one slow PUT, or a stop-the-world collection, is not a death."""
LATE_START = timedelta(seconds=30)
Number = int | float | str | None


@dataclass(frozen=True)
class Thresholds:
    """From which point on a quantity is a finding."""

    silent_after: timedelta = timedelta(seconds=30)
    start_within: timedelta = timedelta(seconds=90)
    """From launch to the first batch: 13-18 s measured on 2 idle cores, up to 60 s on busy ones."""
    stop_within: timedelta = timedelta(seconds=60)
    preflight_within: timedelta = timedelta(minutes=10)
    stalled_after: timedelta = timedelta(minutes=2)
    lagging_for: timedelta = timedelta(minutes=5)
    lagging_records: int = 5000
    down_after: timedelta = timedelta(minutes=2)
    """Not at work for so long: worth an alert."""
    recovered_after: timedelta = timedelta(minutes=2)
    """Healthy for so long before it is said: a driver that fails again within a minute of each start has not
    recovered, and must not send two messages a minute."""

    @classmethod
    def of(cls, spec: StreamSpec, rules: Rules | None = None) -> Thresholds:
        """The thresholds that fit a stream's own pace, unless the catalog names others (`rules`, by default
        those of `spec`)."""
        said = (rules or spec.rules).health
        start_within = said.start_within or cls.start_within
        return cls(
            silent_after=said.silent_after or silent_after(spec.heartbeat),
            start_within=start_within,
            stop_within=spec.stop_within,
            preflight_within=spec.preflight_within,
            stalled_after=said.stalled_after or max(cls.stalled_after, 20 * spec.trigger),
            lagging_for=said.lagging_for or min(max(cls.lagging_for, 40 * spec.trigger), LONGEST_LAGGING),
            lagging_records=_or(said.lagging_records, 10 * spec.max_messages_per_batch),
            down_after=said.down_after or start_within + LATE_START,
            recovered_after=said.recovered_after or cls.recovered_after,
        )


def silent_after(heartbeat: timedelta) -> timedelta:
    """After how long without a word somebody with such a heartbeat is silent, unless the catalog says otherwise."""
    return max(Thresholds.silent_after, HEARTBEATS * heartbeat)


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
    preflight: PreflightObservation | None = None,
    *,
    gone: bool = False,
) -> Health:
    """The health of a stream from its newest driver's status, and from what is said of a redeploy under way; `now` is
    by the store's clock. `gone`: since it was asked to stop, its host has said that no process of it is left.

    Spans inside a driver's life are taken between its own time stamps, so that its clock may be wrong.
    """
    running_desired = desired is not None and desired.state == "running"
    tried = preflight if running_desired and _is_tried(preflight, now, thresholds) else None
    if status is None:
        if tried is not None:
            return Health("trying", tried.in_words(thresholds.preflight_within), False)
        return Health("stopped", "no driver of this stream has ever reported", not running_desired)
    state, reason = _judge(running_desired, status.status, now - status.written_at, thresholds)
    if tried is not None and state in GONE:
        state, reason = "trying", tried.in_words(thresholds.preflight_within)
    if gone and not running_desired and state in ("stopping", "silent"):
        state, reason = (
            "stopped",
            f"{_who(status.status)} was ended before its last word; its host says it is gone",
        )
    healthy = state in KEEPS_UP if running_desired else state in ("stopped", "stopping", "fenced")
    return Health(state, reason, healthy, _numbers(status.status, now - status.written_at, thresholds))


def _is_tried(preflight: PreflightObservation | None, now: datetime, thresholds: Thresholds) -> bool:
    return preflight is not None and preflight.is_under_way(
        now, silent_after=thresholds.silent_after, within=thresholds.preflight_within
    )


def _judge(
    running_desired: bool, status: DriverStatus, age: timedelta, thresholds: Thresholds
) -> tuple[HealthState, str]:
    who = _who(status)
    if status.state == "failed":
        return "failed", f"{who} failed: {status.error or _exit(status)}"
    if status.state == "fenced":
        return "fenced", f"{who} gave way to a newer driver"
    if status.state == "stopped":
        return "stopped", f"{who} stopped: {_exit(status)}"
    if status.state == "finished":
        return ("finished" if running_desired else "stopped"), f"{who} has sent everything that there was"
    if is_dated_ahead(age, thresholds):
        return "silent", (
            f"the last word of {who} is dated {in_words(-age)} ahead: the store's clock was set back, and it has "
            "not written since"
        )
    if age > thresholds.silent_after:
        return "silent", (
            f"{who} has not written for {in_words(age)} (it should at least every "
            f"{in_words(thresholds.silent_after)}); it is dead, hangs, or cannot reach the store"
        )
    if status.state == "stopping" or not running_desired:
        return (
            "stopping",
            f"{who} {'delivers what it has' if status.feed else 'finishes its micro-batch'} and ends",
        )
    alive_for = status.heartbeat_at - status.started_at
    if status.state == "starting":
        if alive_for > 2 * thresholds.start_within:
            return "stalled", f"{who} has been starting for {in_words(alive_for)} and gets no further"
        return "starting", f"{who} has been starting for {in_words(alive_for)}"
    return _progress(status, who, thresholds)


def _who(status: DriverStatus) -> str:
    kind = "feed" if status.feed else "driver"
    return f"{kind} epoch {status.driver_epoch} (pid {status.pid} on {status.host})"


def is_dated_ahead(age: timedelta, thresholds: Thresholds) -> bool:
    """Whether a status was written before the store's clock was set back, by more than a heartbeat mends."""
    return age < -thresholds.silent_after


def _progress(status: DriverStatus, who: str, thresholds: Thresholds) -> tuple[HealthState, str]:
    if status.feed is not None:
        return feed_progress(status, status.feed, who, thresholds.stalled_after)
    still_for = _still_for(status)
    if status.lag is None and status.lag_lows:
        return "running", f"{who}; its source does not say at present what waits"
    if status.lag is None:
        progressed = status.last_progress_at or status.started_at
        word: HealthState = "idle" if status.last_idle_at and status.last_idle_at > progressed else "running"
        return word, f"{who}; it reports no lag, so a stalled stream cannot be told from an idle one"
    if status.lag <= 0:
        return "idle", f"{who} has read everything there is"
    if still_for > thresholds.stalled_after:
        return "stalled", (
            f"{status.lag:,} records wait and nothing has moved for {in_words(still_for)} (at most "
            f"{in_words(thresholds.stalled_after)}); {who} is alive but stuck after batch {status.last_batch_id}"
        )
    if status.lag <= thresholds.lagging_records:
        return "running", f"{who} keeps up; {status.lag:,} records wait"
    if comes_down(status.lag_lows, _spans(thresholds), thresholds.lagging_records):
        return "running", f"{who} works through {status.lag:,} records that wait"
    before = status.lag_lows[-_spans(thresholds) - 1]
    return "lagging", (
        f"{status.lag:,} records wait, and it has not become less for {in_words(thresholds.lagging_for)} (it was "
        f"{before:,}): more comes in than {who} gets through"
    )


def _spans(thresholds: Thresholds) -> int:
    return round(thresholds.lagging_for / LAG_SPAN)


def _still_for(status: DriverStatus) -> timedelta:
    """For how long nothing has moved; by its time stamps for a driver that does not say so itself."""
    if status.still_seconds is not None:
        return timedelta(seconds=status.still_seconds)
    moments = [status.started_at, status.last_progress_at, status.last_idle_at]
    return status.heartbeat_at - max(moment for moment in moments if moment is not None)


def _or(value: int | None, default: int) -> int:
    return default if value is None else value


def _exit(status: DriverStatus) -> str:
    return "no exit code known" if status.exit_code is None else exit_codes.in_words(status.exit_code)


def _numbers(status: DriverStatus, age: timedelta, thresholds: Thresholds) -> dict[str, Number]:
    if status.feed is not None:
        return feed_numbers(status, status.feed, age)
    spans = _spans(thresholds)
    return {
        "driver_epoch": status.driver_epoch,
        "heartbeat_age_seconds": round(age.total_seconds(), 1),
        "lag": status.lag,
        "lag_before": status.lag_lows[-spans - 1] if len(status.lag_lows) > spans else None,
        "lagging_for_seconds": thresholds.lagging_for.total_seconds(),
        "still_seconds": round(_still_for(status).total_seconds(), 1) if status.lag else 0.0,
        "stalled_after_seconds": thresholds.stalled_after.total_seconds(),
        "batches": status.batches,
        "records": status.records,
        "facts": status.facts,
        "rejected": sum(status.rejected.values()),
        "put_aside": status.rejected.get("poisoned", 0),
        "batch_seconds_p50": status.batch_seconds_p50,
        "batch_seconds_p99": status.batch_seconds_p99,
        "watermark": status.watermark.isoformat() if status.watermark else None,
    }
