"""Lines from a TCP server, such as `nc -lk 9999`.

Spark's own source keeps quiet when the connection ends: the query goes on and nothing comes any more. Here that is
seen, so that a driver counts what had come, ends with a word about it, and is started again.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from millrace.catalog import StreamSpec
from spark_apps.runtime.numbered_source import NumberedSource, partition_number, row_in_partition

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

LOOK_FOR_READER_EVERY = 1.0
"""Seconds: finding the thread among all of the JVM's costs some milliseconds of a stop; asking it does not."""


class SocketSource(NumberedSource):
    """It cannot be read again: a driver that ends loses what had come and was not yet counted."""

    def __init__(self, spec: StreamSpec) -> None:
        super().__init__(spec)
        self._reader: Any = None
        self._looked_at = float("-inf")

    @property
    def warning(self) -> str | None:
        return (
            f"reads {self._spec.source}, which cannot be read again: what the server sends while no driver is "
            "connected, and what was on its way when a driver ends, is lost. "
            f"`millrace feed lines {self._spec.source.address}` brings the same lines to Kafka; with "
            "`source: kafka://lines` nothing of them is lost"
        )

    def read(self, spark: SparkSession, starting: Mapping[str, int] | None) -> DataFrame:  # noqa: ARG002
        host, port = self._spec.source.host_and_port
        lines = (
            spark.readStream.format("socket")
            .option("host", host)
            .option("port", port)
            .option("includeTimestamp", "true")
            .load()
        )
        return lines.selectExpr(
            "CAST(NULL AS binary) AS key",
            "CAST(value AS binary) AS value",
            "0 AS partition",
            "CAST(NULL AS bigint) AS offset",
            "timestamp",
        )

    def batch(self, records: DataFrame) -> DataFrame:
        # Spark deals the lines of a batch out to as many partitions as there are cores, one after the other.
        cores = records.sparkSession.sparkContext.defaultParallelism
        return records.withColumn("offset", row_in_partition() * cores + partition_number())

    def closed(self, spark: SparkSession, *, begun: bool) -> str | None:
        # It connects in its first micro-batch, which is empty; what it reads later it reads in this thread.
        if self._reader is None:
            if time.monotonic() - self._looked_at < LOOK_FOR_READER_EVERY:
                return None
            self._looked_at = time.monotonic()
            self._reader = self._find_reader(spark)
            is_open = self._reader is not None or not begun
        else:
            is_open = self._reader.isAlive()
        return None if is_open else f"the server at {self._spec.source} has closed the connection"

    def refused(self, reason: str) -> str | None:
        host, port = self._spec.source.host_and_port
        return f"no connection to {self._spec.source}: {reason}. Start the server, such as `nc -lk {port}` on {host}"

    def _find_reader(self, spark: SparkSession) -> Any:
        host, port = self._spec.source.host_and_port
        jvm: Any = spark.sparkContext._jvm
        for thread in jvm.java.lang.Thread.getAllStackTraces().keySet().toArray():
            if thread.getName() == f"TextSocketSource({host}, {port})":
                return thread
        return None
