"""A shift: one Airflow run of supervision, and the report at its end."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

from millrace.control.health import in_words
from millrace.control.history import ShiftEntry, unhealthy_spells
from millrace.control.status import DriverStatus
from millrace.control.supervised import is_feed
from millrace.control.view import StreamView

LEAST_BUDGET = timedelta(seconds=90)
"""A cold start and one restart on a busy machine are no reason for a red shift."""
BUDGET_SHARE = 0.1


@dataclass(frozen=True)
class Shift:
    """What a shift must remember until its end; goes through Airflow's database as JSON."""

    started_at: datetime
    ends_at: datetime
    epoch: int = 0
    """The newest driver epoch at the start, and what its driver had counted by then."""
    batches: int = 0
    records: int = 0
    facts: int = 0
    rejected: int = 0
    largest_lag: int = 0

    @classmethod
    def begin(cls, now: datetime, length: timedelta, jitter: float, view: StreamView | None) -> Shift:
        """`jitter`, from 0 to 1, spreads the length over 95 % to 105 %, so that many streams that were
        deployed together do not end together for ever."""
        ends_at = now + length * (0.95 + jitter / 10)
        if view is None or view.status is None:
            return cls(now, ends_at, epoch=view.newest_epoch if view else 0)
        status = view.status.status
        return cls(
            now,
            ends_at,
            epoch=status.driver_epoch,
            batches=status.batches,
            records=status.records,
            facts=status.facts,
            rejected=sum(status.rejected.values()),
            largest_lag=status.lag or 0,
        )

    @property
    def budget(self) -> timedelta:
        """How long the stream may be unhealthy in a shift that still counts as good."""
        return max(LEAST_BUDGET, (self.ends_at - self.started_at) * BUDGET_SHARE)

    def to_json(self) -> dict[str, Any]:
        fields = asdict(self)
        return fields | {"started_at": self.started_at.isoformat(), "ends_at": self.ends_at.isoformat()}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Shift:
        """Unknown fields are dropped: the shift may have been begun by another version."""
        known = {name: fields[name] for name in cls.__dataclass_fields__ if name in fields}
        for name in ("started_at", "ends_at"):
            known[name] = datetime.fromisoformat(known[name])
        return cls(**known)


@dataclass(frozen=True)
class ShiftReport:
    """What a stream did in one shift. Counts are of the shift, durations in seconds."""

    stream: str
    state: str
    reason: str
    records: int
    batches: int
    facts: int
    rejected: int
    batch_seconds_p50: float | None
    batch_seconds_p99: float | None
    largest_lag: int
    restarts: int
    """Driver epochs claimed in the shift, whoever ordered them."""
    unhealthy_seconds: float
    budget_seconds: float
    spells: list[str]
    """The unhealthy stretches, in order of time."""
    circuit: str | None = None
    """Why the circuit is open at the end of the shift; None: it is closed."""
    alerts: list[str] = field(default_factory=list)
    """The alerts of the shift, and whether they were sent."""
    spark_ui: str | None = None
    log: str | None = None
    """Where the driver's own log is."""

    @property
    def over_budget(self) -> bool:
        return self.unhealthy_seconds > self.budget_seconds

    @property
    def red(self) -> bool:
        return self.over_budget or self.circuit is not None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def to_entry(self, began_at: datetime, ended_at: datetime) -> ShiftEntry:
        """What the stream's history keeps of it."""
        return ShiftEntry(
            began_at=began_at,
            ended_at=ended_at,
            state=self.state,
            reason=self.reason,
            records=self.records,
            batches=self.batches,
            rejected=self.rejected,
            restarts=self.restarts,
            largest_lag=self.largest_lag,
            unhealthy_seconds=self.unhealthy_seconds,
            red=self.red,
        )

    def lines(self) -> list[str]:
        """The report for a log, one finding a line."""
        found = [
            f"{self.stream} at the end of the shift: {self.state}: {self.reason}",
            f"  records in      {self.records:>12,}   rejected {self.rejected:,}",
            *([] if is_feed(self.stream) else self._of_batches()),
            f"  largest lag     {self.largest_lag:>12,}",
            f"  driver starts   {self.restarts:>12,}",
            f"  unhealthy for   {in_words(timedelta(seconds=self.unhealthy_seconds)):>12}   "
            f"of {in_words(timedelta(seconds=self.budget_seconds))} allowed",
        ]
        found += [f"    {spell}" for spell in self.spells]
        if self.circuit:
            found.append(f"  the circuit is {self.circuit}")
        found += [f"  alert {alert}" for alert in self.alerts]
        if self.spark_ui:
            found.append(f"  Spark UI        {self.spark_ui}")
        if self.log:
            found.append(f"  driver's log    {self.log}")
        return found

    def _of_batches(self) -> list[str]:
        return [
            f"  micro-batches   {self.batches:>12,}   p50 {_seconds(self.batch_seconds_p50)}, "
            f"p99 {_seconds(self.batch_seconds_p99)}",
            f"  facts out       {self.facts:>12,}",
        ]


def report(
    shift: Shift,
    view: StreamView,
    statuses: list[DriverStatus],
    elapsed: timedelta,
    log: str | None = None,
) -> ShiftReport:
    """The report of a shift that has lasted for `elapsed`.

    `statuses` are those of the newest drivers, oldest first; drivers from before the shift are left out,
    and of the one that was at work when it began only what it did since then counts.
    """
    spells = unhealthy_spells(view.history, view.now - elapsed, view.now)
    mine = [status for status in statuses if status.driver_epoch >= shift.epoch]
    known = any(status.driver_epoch == shift.epoch for status in mine)
    newest = mine[-1] if mine else None
    health = view.health

    def grown(total: int, before: int) -> int:
        return max(total - before if known else total, 0)

    return ShiftReport(
        stream=view.stream,
        state=health.state,
        reason=health.reason,
        records=grown(sum(status.records for status in mine), shift.records),
        batches=grown(sum(status.batches for status in mine), shift.batches),
        facts=grown(sum(status.facts for status in mine), shift.facts),
        rejected=grown(sum(sum(status.rejected.values()) for status in mine), shift.rejected),
        batch_seconds_p50=newest.batch_seconds_p50 if newest else None,
        batch_seconds_p99=newest.batch_seconds_p99 if newest else None,
        largest_lag=max([shift.largest_lag, *(status.lag or 0 for status in mine)]),
        restarts=max(view.newest_epoch - shift.epoch, 0),
        unhealthy_seconds=round(sum(span.total_seconds() for span, _ in spells), 1),
        budget_seconds=shift.budget.total_seconds(),
        spells=[f"{in_words(span)} {reason}" for span, reason in spells],
        circuit=str(view.history.circuit) if view.history.circuit else None,
        alerts=[str(one) for one in view.history.alerts if one.at >= view.now - elapsed and not one.quiet],
        spark_ui=newest.spark_ui if newest and not newest.ended else None,
        log=log,
    )


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"
