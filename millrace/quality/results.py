"""The history of judgements: `quality/<dataset>/YYYY/MM/DD/HH/<run>-<digest>.parquet`, a row per expectation."""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from millrace.publish.layout import whole_hour
from millrace.quality.judge import Finding
from millrace.store import ObjectStore

if TYPE_CHECKING:
    import polars as pl


def results_prefix(dataset: str, hour: datetime | None = None) -> str:
    """Where the results of a dataset, or of one of its hours, lie."""
    return f"quality/{dataset}/" + (f"{whole_hour(hour):%Y/%m/%d/%H}/" if hour else "")


def results_table(
    findings: Sequence[Finding],
    *,
    dataset: str,
    hour: datetime | None,
    run: str,
    at: datetime,
    digest: str,
    suite: str,
    verdict: str,
) -> pl.DataFrame:
    """One row per expectation; `hour` and `at` are UTC, `checked` and `failing` count rows of the view."""
    import polars as pl

    return pl.DataFrame(
        {
            "dataset": dataset,
            "hour": hour,
            "run": run,
            "at": at,
            "digest": digest,
            "suite": suite,
            "verdict": verdict,
            "expectation": [one.expected.name for one in findings],
            "severity": [one.expected.severity for one in findings],
            "view": [one.expected.view for one in findings],
            "outcome": [one.outcome for one in findings],
            "checked": [one.checked for one in findings],
            "failing": [0 if one.failing is None else one.failing.height for one in findings],
            "observed": [one.observed for one in findings],
        },
        schema_overrides={"hour": pl.Datetime("us", "UTC"), "at": pl.Datetime("us", "UTC")},
    )


def put_results(store: ObjectStore, table: pl.DataFrame, dataset: str, hour: datetime) -> str:
    """Keep the results of one judgement; returns the key."""
    body = io.BytesIO()
    table.write_parquet(body)
    run, digest = table["run"][0], table["digest"][0]
    key = f"{results_prefix(dataset, hour)}{run}-{digest[:8]}.parquet"
    store.put(key, body.getvalue())
    return key
