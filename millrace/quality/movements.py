"""The view `systems`: the movements of whole bike systems, one row per system."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

    from millrace.catalog import DatasetSpec

COLUMNS = (
    "system_id",
    "stations",
    "rentals",
    "returns",
    "imbalance",
    "volume",
    "usual_volume",
    "volume_ratio",
)

FEW_MOVEMENTS = 100
"""Below this, rentals and returns of one hour differ by chance alone (trips end in another hour than they
began in), and a ratio of volumes says nothing: both are then not evaluated."""


def fits(dataset: DatasetSpec) -> bool:
    """Whether the dataset has what the view needs."""
    return {"system_id", "total_rental", "total_return"} <= set(dataset.columns)


def systems(rows: pl.DataFrame, weeks: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Per system: stations, rentals, returns and their imbalance, volume and the usual one.

    `imbalance` = |rentals - returns| / volume; `usual_volume` = mean of the weeks that have the system;
    `volume_ratio` = volume / usual_volume. Each is null where it cannot be known or would be noise. A system
    of the weeks before that has no row now is there with a volume of 0.
    """
    import polars as pl

    schema = {
        "system_id": pl.String,
        "stations": pl.Int64,
        "rentals": pl.Int64,
        "returns": pl.Int64,
        "imbalance": pl.Float64,
        "volume": pl.Int64,
        "usual_volume": pl.Float64,
        "volume_ratio": pl.Float64,
    }
    needed = {"system_id": pl.String, "total_rental": pl.Int64, "total_return": pl.Int64}
    if any(rows.schema.get(name) != dtype for name, dtype in needed.items()):
        return pl.DataFrame(schema=schema)  # the view `columns` says what is wrong
    usual = pl.concat([_totals(week) for week in weeks] or [_totals(rows.clear())])
    usual = usual.group_by("system_id").agg(usual_volume=pl.col("volume").mean())
    volume, most = pl.col("volume"), pl.max_horizontal("volume", "usual_volume")
    return (
        _totals(rows)
        .join(usual, on="system_id", how="full", coalesce=True)
        .with_columns(pl.col("stations", "rentals", "returns", "volume").fill_null(0))
        .with_columns(
            imbalance=pl.when(volume >= FEW_MOVEMENTS).then(
                (pl.col("rentals") - pl.col("returns")).abs() / volume
            ),
            volume_ratio=pl.when((most >= FEW_MOVEMENTS) & (pl.col("usual_volume") > 0)).then(
                volume / pl.col("usual_volume")
            ),
        )
        .select(pl.col(name).cast(dtype) for name, dtype in schema.items())
        .sort("system_id")
    )


def _totals(rows: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    return rows.group_by("system_id").agg(
        stations=pl.len().cast(pl.Int64),
        rentals=pl.col("total_rental").sum(),
        returns=pl.col("total_return").sum(),
        volume=pl.col("total_rental").sum() + pl.col("total_return").sum(),
    )
