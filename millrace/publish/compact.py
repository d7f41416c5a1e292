"""Compaction of a chunk of hours: the fold, hour by hour; one that fails does not hold the others."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from millrace.publish.audit import Audit
from millrace.publish.codec import FormatError
from millrace.publish.fold import HourResult, fold_hour
from millrace.publish.side_by_side import SideBySide, in_threads
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
    pause: Callable[[float], None] = time.sleep,
    side_by_side: SideBySide = in_threads,
) -> list[HourResult]:
    """Fold each hour (aware UTC, whole) and say what became of it; `report` hears of each as it is done.

    With `audit`, nothing is published that it refuses.
    """
    results = []
    for hour in hours:
        try:
            result = fold_hour(store, dataset, hour, audit=audit, pause=pause, side_by_side=side_by_side)
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
