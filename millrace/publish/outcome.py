"""What became of an hour, as data between processes and as a line for a person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from millrace.publish.fold import HourResult

NOT_PUBLISHED = ("failed", "quarantined")
"""The outcomes that make a task red."""


def result_json(dataset: str, result: HourResult) -> dict[str, Any]:
    """One hour's result as it goes through Airflow's database or the store."""
    return {
        "dataset": dataset,
        "hour": f"{result.hour:%Y-%m-%dT%H:%M:%SZ}",
        "outcome": result.outcome,
        "status": result.status,
        "rows": result.rows,
        "rev": result.rev,
        "set_aside": result.set_aside,
        "error": result.error,
    }


def result_line(result: HourResult) -> str:
    """One hour's result for a log."""
    hour = f"{result.hour:%Y-%m-%d %H}h"
    if result.outcome == "failed":
        return f"{hour} FAILED: {result.error}"
    if result.outcome == "quarantined":
        return f"{hour} IN QUARANTINE: {result.error}"
    aside = f", {result.set_aside} SET ASIDE below rejected/ with the reason" if result.set_aside else ""
    return (
        f"{hour} {result.outcome} ({result.status}, rev {result.rev}): {result.rows:,} rows, "
        f"{result.facts_read:,} facts read, {result.objects_deleted} landing objects folded away{aside}"
    )


def sum_text(results: Iterable[Mapping[str, Any]]) -> str:
    """All results of a run in one line, such as `trips: 3 published, 1 unchanged, 2 objects set aside`."""
    outcomes: dict[str, Counter[str]] = {}
    aside: Counter[str] = Counter()
    for one in results:
        outcomes.setdefault(one["dataset"], Counter())[one["outcome"]] += 1
        aside[one["dataset"]] += one.get("set_aside", 0)
    texts = []
    for dataset, counted in sorted(outcomes.items()):
        parts = [f"{count} {outcome}" for outcome, count in sorted(counted.items())]
        if count := aside[dataset]:
            parts.append(f"{count} object{'s' if count > 1 else ''} set aside")
        texts.append(f"{dataset}: {', '.join(parts)}")
    return "; ".join(texts)
