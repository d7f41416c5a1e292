"""What the sources without offsets have in common: the stream numbers their records itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from millrace.catalog import StreamSpec
from spark_apps.runtime.quiet_source import QuietSource

if TYPE_CHECKING:
    from pyspark.sql import Column

ROW_BITS = 33
"""Of Spark's monotonically increasing id: the row within the partition; what is above it is the partition."""


class NumberedSource(QuietSource):
    """A source without offsets; a driver goes on counting where the state stopped."""

    order: tuple[str, ...] = ("offset",)

    def __init__(self, spec: StreamSpec) -> None:
        self._spec = spec

    def check(self, resumed: Mapping[str, int] | None) -> None:
        """Nothing to check: where it goes on is not the state's business."""

    def end_offsets(self) -> dict[str, int] | None:
        return None


def row_in_partition() -> Column:
    """Of a micro-batch's frame (a stream has no such numbers): 0, 1, 2, … in each of its partitions."""
    from pyspark.sql import functions as F

    return F.monotonically_increasing_id() % (1 << ROW_BITS)


def partition_number() -> Column:
    """Of a micro-batch's frame: from which of its partitions a row is, whatever becomes of them later."""
    from pyspark.sql import functions as F

    return F.shiftright(F.monotonically_increasing_id(), ROW_BITS)
