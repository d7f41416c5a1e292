"""Hours of any dataset, made of one good row: with others like it, and with one that is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from millrace.catalog import load_catalog
from millrace.publish.codec import empty_hour
from millrace.quality.views import Hour
from millrace.settings import PROJECT_ROOT
from tests.unit.quality.builders import HOUR


@dataclass(frozen=True)
class Made:
    """`row` is right in every way; `several` are the values of `key` in a good hour."""

    name: str
    row: Mapping[str, Any]
    key: str
    several: tuple[str, ...]

    def good(self) -> pl.DataFrame:
        dataset = load_catalog(PROJECT_ROOT / "catalog").datasets[self.name]
        schema = empty_hour(dataset).rows.drop("version").schema
        return pl.DataFrame([{**self.row, self.key: value} for value in self.several], schema=schema)

    def hour(self, rows: pl.DataFrame) -> Hour:
        dataset = load_catalog(PROJECT_ROOT / "catalog").datasets[self.name]
        return Hour(dataset=dataset, rows=rows, hour=HOUR)

    def good_hour(self) -> Hour:
        return self.hour(self.good())

    def with_row(self, **values: Any) -> Hour:
        good = self.good()
        return self.hour(pl.concat([good, pl.DataFrame([{**self.row, **values}], schema=good.schema)]))
