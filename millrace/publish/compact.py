"""Compaction of a chunk of hours: the fold, hour by hour; one that fails does not hold the others."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from millrace.publish.audit import Audit
from millrace.publish.codec import FormatError
from millrace.publish.fold import HourResult, fold_hour
from millrace.store import ObjectStore, StoreError

if TYPE_CHECKING:
    from millrace.catalog import DatasetSpec

log = logging.getLogger(__name__)


def compact_hours(
    store: ObjectStore,
    dataset: DatasetSpec,
    hours: Sequence[datetime],
    *,
    audit: Audit | None = None,
    report: Callable[[HourResult], None] | None = None,
) -> list[HourResult]:
    """Fold each hour (aware UTC, whole) and say what became of it; `report` hears of each as it is done.

    With `audit`, nothing is published that it refuses.
    """
    results = []
    for hour in hours:
        try:
            result = fold_hour(store, dataset, hour, audit=audit)
        except (FormatError, StoreError) as error:
            log.exception("%s %s: not published", dataset.name, hour.isoformat())
            result = HourResult(
                hour,
                "failed",
                "unknown",
                0,
                0,
                0,
                0,
                error=f"{error}. Nothing was lost: what landed is still there",
            )
        results.append(result)
        if report is not None:
            report(result)
    return results
