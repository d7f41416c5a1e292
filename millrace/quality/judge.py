"""Judging an hour by a suite: one finding per expectation, with the rows that failed it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from millrace.quality import great
from millrace.quality.views import Hour, views_of

if TYPE_CHECKING:
    import polars as pl

    from millrace.quality.suite import Expected, Suite

Outcome = Literal["passed", "failed", "not_evaluated"]


@dataclass(frozen=True)
class Finding:
    """What became of one expectation.

    `checked` values were looked at (rows, for a row count); `failing` are the rows of the view that failed,
    none where the expectation is about the whole view. `observed` is for a person.
    """

    expected: Expected
    outcome: Outcome
    checked: int
    failing: pl.DataFrame | None
    observed: str

    @property
    def is_critical(self) -> bool:
        return self.outcome == "failed" and self.expected.severity == "critical"

    @property
    def is_warning(self) -> bool:
        return self.outcome == "failed" and self.expected.severity == "warning"


def judge(suite: Suite, hour: Hour) -> list[Finding]:
    """Every expectation of the suite, in its order."""
    parameters = parameters_of(hour)
    by_view: dict[str, list[Expected]] = defaultdict(list)
    for one in suite.expectations:
        by_view[one.view].append(one)
    views = views_of(hour.dataset)
    found: dict[str, Finding] = {}
    for view, expectations in by_view.items():
        rows = views[view].build(hour)
        to_run = []
        for one in expectations:
            decided = _decided_beforehand(one, rows, hour, parameters)
            if decided is None:
                to_run.append(one)
            else:
                found[one.name] = decided
        if to_run:
            raw = great.run(view, rows, to_run, parameters)
            found |= {one.name: _finding(one, rows, raw[one.name]) for one in to_run}
    return [found[one.name] for one in suite.expectations]


def parameters_of(hour: Hour) -> dict[str, Any]:
    """What `{"$PARAMETER": ...}` stands for; nothing when the hour is not known."""
    if hour.hour is None:
        return {}
    return {"hour": hour.hour, "hour_end": hour.hour + timedelta(hours=1)}


def _decided_beforehand(
    one: Expected, rows: pl.DataFrame, hour: Hour, parameters: Mapping[str, Any]
) -> Finding | None:
    from millrace.quality.suite import columns_named

    if one.unless_without_facts and hour.without_facts:
        return Finding(one, "not_evaluated", 0, None, "sealed, and nobody wrote a fact: rightly empty")
    if not one.parameters <= set(parameters):
        return Finding(one, "not_evaluated", 0, None, "the hour of these rows is not known")
    named = {column for _, column in columns_named(one.kwargs)}
    if missing := sorted(named - set(rows.columns)):
        return Finding(one, "failed", 0, None, f"there is no column {', '.join(missing)}")
    if named and not _checked(one, rows):
        why = "nothing to look at" if rows.is_empty() else "not known for any row"
        return Finding(one, "not_evaluated", 0, None, why)
    return None


def _checked(one: Expected, rows: pl.DataFrame) -> int:
    """How many rows the expectation looks at: Great Expectations leaves out those with a null."""
    from millrace.quality.suite import columns_named

    named = sorted({column for _, column in columns_named(one.kwargs)})
    return rows.drop_nulls(named).height if named else rows.height


def _finding(one: Expected, rows: pl.DataFrame, raw: great.Raw) -> Finding:
    checked = _checked(one, rows)
    if raw.error:
        return Finding(one, "failed", checked, None, f"could not be evaluated: {raw.error}")
    if raw.success:
        return Finding(one, "passed", checked, None, "")
    positions = raw.result.get("unexpected_index_list")
    if positions is None:  # about the whole view, such as a row count
        return Finding(one, "failed", checked, None, f"observed {raw.result.get('observed_value')}")
    failing = rows[sorted({int(position) for position in positions})]
    return Finding(one, "failed", checked, failing, f"{failing.height:,} of {checked:,} rows")
