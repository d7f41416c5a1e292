"""What an executor does with a few hours of a backlog: the same fold, under the same audit, as the Airflow task.

Spark reuses its Python processes, so the import of Great Expectations (6 s, 250 MB) is paid once per process.
"""

from __future__ import annotations

import logging
from functools import cache

from millrace import settings
from millrace.catalog import DatasetSpec, load_catalog
from millrace.publish.audit import Audit
from millrace.publish.backlog import Part, note
from millrace.publish.compact import compact_hours
from millrace.publish.fold import HourResult
from millrace.publish.outcome import result_json
from millrace.quality.auditor import auditor_of
from millrace.quality.suite import SuiteError
from millrace.store import S3Store, StoreError, open_store

log = logging.getLogger(__name__)


def fold_part(run: str, part: Part) -> None:
    """Fold the hours of a part, and note after each in the store what became of it."""
    # Warnings are in `quality/` and in the published footers; a line of each hour would bury the headway.
    logging.getLogger("millrace.quality").setLevel(logging.ERROR)
    store = _store()
    try:
        dataset, audit = _dataset(part.dataset), _audit(part.dataset)
    except SuiteError as error:
        why = f"nothing is published without its suite of expectations: {error}"
        for hour in part.times():
            refused = HourResult(hour, "failed", "unknown", 0, 0, 0, 0, error=why)
            _note(store, run, part.dataset, refused)
        return
    compact_hours(
        store,
        dataset,
        part.times(),
        audit=audit,
        report=lambda result: _note(store, run, dataset.name, result),
    )


def _note(store: S3Store, run: str, dataset: str, result: HourResult) -> None:
    try:
        note(store, run, result_json(dataset, result))
    except StoreError as error:  # the others go on; an hour without a word counts as failed in the end
        log.error("%s %s: what became of it cannot be told: %s", dataset, result.hour, error)


@cache
def _store() -> S3Store:
    return open_store(settings.load())


@cache
def _dataset(name: str) -> DatasetSpec:
    return load_catalog(settings.load().catalog_dir).datasets[name]


@cache
def _audit(name: str) -> Audit:
    return auditor_of(_store(), [_dataset(name)])
