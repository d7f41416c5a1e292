"""The tables that expectations look at: the candidate hour itself, and what is computed from it.

An expectation judges one column of one view. A view's rows are what a person is shown when it fails, so each
has the keys that name a culprit. A value that cannot be known, such as the volume of four weeks ago in a
new deployment, is null: null is *not evaluated*, never passed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from millrace.quality import movements

if TYPE_CHECKING:
    import polars as pl

    from millrace.catalog import DatasetSpec


@dataclass(frozen=True)
class Hour:
    """What is known when an hour is judged.

    `rows` is the candidate (without `version`), `before` the published hour before it, `weeks` the same hour
    of the weeks before, as far as they are published. `hour` is None for a file of an unknown hour.
    """

    dataset: DatasetSpec
    rows: pl.DataFrame
    hour: datetime | None = None
    before: pl.DataFrame | None = None
    weeks: tuple[pl.DataFrame, ...] = ()
    without_facts: bool = False
    """The hour is sealed, and nobody has ever written a fact of it: no rows are then right."""


@dataclass(frozen=True)
class View:
    """A table by name: which columns it has, and how it is made of an hour."""

    columns: tuple[str, ...]
    build: Callable[[Hour], pl.DataFrame]


def views_of(dataset: DatasetSpec) -> Mapping[str, View]:
    """The views that a suite of this dataset may use."""
    views = {
        "rows": View(tuple(dataset.columns), lambda hour: hour.rows),
        "columns": View(("column", "type", "catalog_type", "nulls"), _columns),
        "keys_before": View((*dataset.keys, "still_there"), _keys_before),
    }
    if movements.fits(dataset):
        views["systems"] = View(movements.COLUMNS, lambda hour: movements.systems(hour.rows, hour.weeks))
    return views


def _columns(hour: Hour) -> pl.DataFrame:
    """One row per column that is there or should be: its type, the catalog's, and how many nulls."""
    import polars as pl

    found = {name: _type_name(dtype) for name, dtype in hour.rows.schema.items()}
    wanted = hour.dataset.columns
    names = [*wanted, *(name for name in found if name not in wanted)]
    return pl.DataFrame(
        {
            "column": names,
            "type": [found.get(name, "missing") for name in names],
            "catalog_type": [str(wanted.get(name, "not in the catalog")) for name in names],
            "nulls": [hour.rows[name].null_count() if name in found else 0 for name in names],
        },
        schema={"column": pl.String, "type": pl.String, "catalog_type": pl.String, "nulls": pl.Int64},
    )


def _type_name(dtype: pl.DataType) -> str:
    """A type in the catalog's words, or in Polars' own where the catalog has none."""
    import polars as pl

    words: dict[pl.DataType, str] = {
        pl.String(): "string",
        pl.Int64(): "int64",
        pl.Int32(): "int32",
        pl.Float64(): "double",
        pl.Boolean(): "boolean",
        pl.Datetime("us", "UTC"): "timestamp",
        pl.Decimal(38, 6): "decimal",
    }
    return words.get(dtype, str(dtype))


def _keys_before(hour: Hour) -> pl.DataFrame:
    """The keys of the hour before, and whether each is there again; no rows when it is not published."""
    import polars as pl

    keys = hour.dataset.keys
    if hour.before is None or not set(keys) <= set(hour.rows.columns):
        return pl.DataFrame(schema={**dict.fromkeys(keys, pl.String), "still_there": pl.Boolean})
    there = hour.rows.select(keys).unique().with_columns(still_there=True)
    return (
        hour.before.select(keys)
        .join(there, on=keys, how="left")
        .with_columns(pl.col("still_there").fill_null(False))
    )
