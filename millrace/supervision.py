"""What the catalog says about the supervision of a stream: thresholds of its health, the circuit, alerts.

None of it is part of what a driver is started with: a change counts from the next look, and restarts nothing.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

from millrace.durations import Duration, format_duration

LAG_SPAN = timedelta(seconds=30)
"""A driver keeps the lowest lag of each span this long: longer than most micro-batches, so that a span holds the
low of the saw-tooth that micro-batches make of any lag."""
LAG_SPANS = 60
LEAST_LAGGING = 4 * LAG_SPAN
LONGEST_LAGGING = (LAG_SPANS - 2) * LAG_SPAN

AlertKind = Literal["down", "circuit_open", "lagging", "stalled", "recovered"]
ALERT_KINDS: tuple[AlertKind, ...] = get_args(AlertKind)


def between(least: timedelta, most: timedelta) -> AfterValidator:
    """Refuses a span outside these bounds, and says them."""

    def check(value: timedelta) -> timedelta:
        if not least <= value <= most:
            raise ValueError(
                f"{format_duration(value)} is out of bounds: write {format_duration(least)} to "
                f"{format_duration(most)}"
            )
        return value

    return AfterValidator(check)


class HealthRules(BaseModel):
    """From which point on a quantity is a finding. What is left out is derived from the stream's own pace."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    silent_after: Annotated[Duration, between(timedelta(seconds=5), timedelta(hours=1))] | None = None
    """Without a heartbeat for so long: silent, and restarted. Default: 30 s, or 6 heartbeats."""
    start_within: Annotated[Duration, between(timedelta(seconds=10), timedelta(hours=1))] | None = None
    """From launch to the driver's first word. Default: 90 s."""
    stalled_after: Annotated[Duration, between(timedelta(seconds=5), timedelta(days=1))] | None = None
    """Input waits and nothing has moved for so long: stalled. Default: 2 min, or 20 trigger intervals."""
    lagging_for: Annotated[Duration, between(LEAST_LAGGING, LONGEST_LAGGING)] | None = None
    """The lag has not come down for so long: lagging. Default: 5 min, or 40 trigger intervals."""
    lagging_records: int | None = Field(default=None, ge=0)
    """A lag of so many records is no finding, whatever it does. Default: 10 full micro-batches."""
    down_after: Annotated[Duration, between(timedelta(seconds=10), timedelta(days=1))] | None = None
    """Not at work for so long: worth an alert. Default: `start_within` and 30 s, so that a start is none."""
    recovered_after: Annotated[Duration, between(timedelta(seconds=10), timedelta(days=1))] | None = None
    """Healthy for so long again after an alert: `recovered`. Default: 2 min."""


class RestartRules(BaseModel):
    """When a driver that fails again and again is let be for a while."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    failures: int = Field(default=12, ge=2, le=40)
    """So many starts by Airflow without a healthy run in between, within `window`, open the circuit. With the
    back-off between them that takes 20 min: an outage of Kafka or the store that lasts 10 must not leave the
    stream waiting for a slow retry when it is over."""
    window: Annotated[Duration, between(timedelta(minutes=1), timedelta(days=1))] = timedelta(hours=2)
    """A driver that fails after 2 min, twice between two back-offs of 5 min, still gets 12 starts into it."""
    retry_every: Annotated[Duration, between(timedelta(minutes=1), timedelta(days=1))] = timedelta(minutes=15)
    """While the circuit is open. A try costs two starts of a JVM, and somebody has been told."""


class AlertRules(BaseModel):
    """Whom to tell, and of what: see docs/supervision.md."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    connection: str = Field(pattern=r"^[A-Za-z0-9_.\-]+$", max_length=200)
    """The id of an Airflow connection of the type apprise, which alone holds addresses and secrets."""
    on: tuple[AlertKind, ...] = ALERT_KINDS

    @field_validator("on", mode="after")
    @classmethod
    def _not_empty(cls, value: tuple[AlertKind, ...]) -> tuple[AlertKind, ...]:
        if not value:
            raise ValueError(f"it must name at least one of {', '.join(ALERT_KINDS)}")
        return value


class Rules(BaseModel):
    """All of it for one stream."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    health: HealthRules = HealthRules()
    restarts: RestartRules = RestartRules()
    alerts: AlertRules | None = None


class WithRules(BaseModel):
    """The words that say it in an entry of the catalog, whatever is supervised. See `docs/supervision.md`."""

    # Not part of what is started: a change of these is no reason to restart it.
    health: HealthRules = Field(default_factory=HealthRules, exclude=True)
    restarts: RestartRules = Field(default_factory=RestartRules, exclude=True)
    alerts: AlertRules | None = Field(default=None, exclude=True)

    @property
    def rules(self) -> Rules:
        """How it is supervised."""
        return Rules(health=self.health, restarts=self.restarts, alerts=self.alerts)
