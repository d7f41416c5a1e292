"""Why an hour was refused and what to do, in words: for a task's log and for whoever decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from millrace.quality.quarantine import Decision, FailedExpectation, quarantine_prefix

SHOWN = 5
"""Failing rows per expectation in a text; more are in the entry, all of them in the Parquet object."""


def row_text(row: Mapping[str, Any]) -> str:
    """One failing row on one line."""
    return ", ".join(f"{name}={value}" for name, value in row.items())


def refusal_text(
    dataset: str,
    hour: datetime,
    digest: str,
    failed: Sequence[FailedExpectation],
    rejection: Decision | None,
) -> str:
    """What failed, which rows, and the ways out."""
    lines = [
        f"{dataset} {hour:%Y-%m-%d %H}h is in quarantine: {len(failed)} critical expectation(s) failed. "
        "Nothing of it was published, nothing is lost."
    ]
    for one in failed:
        lines.append(f"  {one.name}: expected: {one.says}. Failed: {one.observed}")
        lines += [f"    {row_text(row)}" for row in one.sample[:SHOWN]]
        if one.rows > SHOWN:
            lines.append(f"    ... and {one.rows - SHOWN:,} more")
    lines.append(f"  All failing rows: {quarantine_prefix(dataset, hour, digest)}")
    if rejection is not None:
        lines.append(
            f"  Rejected by {rejection.who} at {rejection.at:%Y-%m-%d %H:%M} UTC: {rejection.why}. It stays "
            "out until newer facts arrive, or until the landing objects that brought it are moved aside "
            f"(landing/{dataset}/hour={hour:%Y-%m-%dT%H}/: copy, then delete)."
        )
    else:
        lines.append(
            "  What to do: if the rows are right, trigger the DAG review_quarantine and approve them (exactly "
            "this content then passes). If they are wrong, reject them there, mend the source or move the "
            f"landing objects aside (landing/{dataset}/hour={hour:%Y-%m-%dT%H}/: copy, then delete). If the "
            f"expectation is wrong, change expectations/{dataset}.json. The next run judges anew."
        )
    return "\n".join(lines)
