"""A day of a dataset as plain data: what is published of it, and what people and checks say of it."""

from __future__ import annotations

from datetime import date, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from millrace.store import NotFound, ObjectStore

CheckOutcome = Literal["ok", "warning", "failed", "not_evaluated"]
SIGNS: dict[str, str] = {"ok": "ok  ", "warning": "WARN", "failed": "FAIL", "not_evaluated": "-   "}


class _Plain(BaseModel):
    model_config = ConfigDict(frozen=True)


class Check(_Plain):
    """One line of the summary."""

    name: str
    outcome: CheckOutcome
    says: str


class Counters(_Plain):
    """A stream's own counters when the summary was made; totals since its generation's first batch."""

    generation: int
    batch: int
    totals: dict[str, int]


class DaySummary(_Plain):
    """`quality/daily/<dataset>/YYYY-MM-DD.json`. The day is a UTC day."""

    dataset: str
    day: date
    at: datetime
    outcome: CheckOutcome
    checks: list[Check]
    hours: dict[str, int] = Field(default_factory=dict)
    """How many hours are final, provisional, amending, missing, ..."""
    keys: int = 0
    """Distinct keys (stations) with at least one row."""
    totals: dict[str, int] = Field(default_factory=dict)
    counters: dict[str, Counters] = Field(default_factory=dict)

    @property
    def text(self) -> str:
        """What a person reads in ten seconds."""
        head = f"{self.dataset}, {self.day:%A %Y-%m-%d}: {self.outcome.replace('_', ' ').upper()}"
        lines = [f"  {SIGNS[one.outcome]}  {one.name:<14} {one.says}" for one in self.checks]
        return "\n".join([head, *lines])


def summary_key(dataset: str, day: date) -> str:
    return f"quality/daily/{dataset}/{day:%Y-%m-%d}.json"


def read_summary(store: ObjectStore, dataset: str, day: date) -> DaySummary | None:
    """The summary of a day, or None when none was made."""
    try:
        return DaySummary.model_validate_json(store.get(summary_key(dataset, day)).body)
    except NotFound:
        return None


def put_summary(store: ObjectStore, summary: DaySummary) -> str:
    """Keep a summary; a second one of the same day replaces the first. Returns the key."""
    key = summary_key(summary.dataset, summary.day)
    store.put(key, summary.model_dump_json(indent=1).encode())
    return key


def worst(checks: list[Check]) -> CheckOutcome:
    """The outcome of the whole: not evaluated only when nothing was."""
    found = {one.outcome for one in checks}
    order: tuple[CheckOutcome, ...] = ("failed", "warning", "ok")
    return next((outcome for outcome in order if outcome in found), "not_evaluated")
