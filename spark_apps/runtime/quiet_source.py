"""A source of which there is nothing to say: what most of them are."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


class QuietSource:
    """It does not end by itself, refuses nothing, and its records come as they are."""

    def batch(self, records: DataFrame) -> DataFrame:
        return records

    def closed(self, spark: SparkSession, *, begun: bool) -> str | None:  # noqa: ARG002
        return None

    def refused(self, reason: str) -> str | None:  # noqa: ARG002
        return None

    @property
    def warning(self) -> str | None:
        return None
