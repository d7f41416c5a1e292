"""Judging any Parquet file or stored object by a suite, outside the fold. Writes nothing."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from millrace import settings
from millrace.catalog import load_catalog
from millrace.publish.hour import VERSION
from millrace.publish.layout import LayoutError, whole_hour
from millrace.quality.auditor import failed_expectation
from millrace.quality.judge import Finding, judge
from millrace.quality.neighbours import neighbours
from millrace.quality.quarantine import FailedExpectation
from millrace.quality.suite import did_you_mean, load_suite, suite_file
from millrace.quality.views import Hour
from millrace.store import NotFound, open_store

if TYPE_CHECKING:
    import polars as pl

_HOUR_IN_PATH = re.compile(r"(\d{4}/\d\d/\d\d/\d\d)/[^/]+\.parquet$")


class CheckError(ValueError):
    """Something cannot be checked; says what and what would be right."""


@dataclass(frozen=True)
class Checked:
    """What was judged, and every finding; `failed` has the rows of those that failed."""

    title: str
    findings: list[Finding]
    failed: list[FailedExpectation]


def check_file(file: str, suite: str, hour: str | None) -> Checked:
    """Judge a local file or, when there is none of this name, an object of the store.

    `suite` is a dataset's name or the path of a suite. Raises CheckError, SuiteError, CatalogError, StoreError.
    """
    here = settings.load()
    datasets = load_catalog(here.catalog_dir).datasets
    path = Path(suite) if suite.endswith(".json") else suite_file(suite)
    name = path.stem
    if name not in datasets:
        raise CheckError(f"--suite {suite}: no dataset {name!r}; {did_you_mean(name, datasets)}")
    dataset = datasets[name]
    of_hour = _hour(file, hour)
    before: pl.DataFrame | None = None
    weeks: tuple[pl.DataFrame, ...] = ()
    local = Path(file)
    if local.is_file():
        where, body = str(local), local.read_bytes()
    else:
        store = open_store(here)
        key = file.removeprefix(f"s3://{here.bucket}/")
        if here.prefix.strip("/"):
            key = key.removeprefix(here.prefix.strip("/") + "/")
        try:
            body = store.get(key).body
        except NotFound:
            raise CheckError(
                f"{file}: neither a file here nor an object of bucket {here.bucket} at {here.s3_endpoint}"
            ) from None
        where = f"s3://{here.bucket}/{key}"
        if of_hour is not None:
            before, weeks = neighbours(store, dataset, of_hour)
    rows = _rows(body, where)
    findings = judge(load_suite(path, dataset), Hour(dataset, rows, of_hour, before, weeks))
    failed = [failed_expectation(one, dataset, None) for one in findings if one.outcome == "failed"]
    said = f"hour {of_hour:%Y-%m-%d %H:%M} UTC" if of_hour else "hour not known: see --hour"
    return Checked(f"{where}: {rows.height:,} rows, {said}", findings, failed)


def _hour(file: str, asked: str | None) -> datetime | None:
    if asked is None:
        found = _HOUR_IN_PATH.search(file)
        return datetime.strptime(found[1], "%Y/%m/%d/%H").replace(tzinfo=UTC) if found else None
    try:
        time = datetime.fromisoformat(asked)
        return whole_hour(time if time.tzinfo else time.replace(tzinfo=UTC))
    except (ValueError, LayoutError) as error:
        raise CheckError(f"--hour {asked}: {error}; write a UTC hour such as 2026-03-01T14") from None


def _rows(body: bytes, where: str) -> pl.DataFrame:
    import polars as pl
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(io.BytesIO(body), use_threads=False)
        rows = pl.DataFrame(pl.from_arrow(table))
    except (pa.ArrowException, ValueError, OSError) as error:
        raise CheckError(f"{where}: not a Parquet file that can be read: {error}") from None
    return rows.drop(VERSION, strict=False)
