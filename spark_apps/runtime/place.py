"""Where a driver runs: alone in its process, with a JVM of its own, or in a shared one (shared_driver.py)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from millrace.catalog import StreamSpec
from spark_apps.runtime.session import start_session

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


class Place(Protocol):
    """`pid`: the process whose end is the end of the driver, as others see it."""

    pid: int

    def session(self, spec: StreamSpec, scratch: Path, /) -> SparkSession:
        """A session for the driver's query."""
        ...

    def leave(self, spark: SparkSession) -> None:
        """The query has ended as it was asked to."""
        ...


class OwnProcess:
    """The ordinary place: when the driver has ended, so has Spark."""

    def __init__(self) -> None:
        self.pid = os.getpid()

    def session(self, spec: StreamSpec, scratch: Path, /) -> SparkSession:
        return start_session(spec, scratch)

    def leave(self, spark: SparkSession) -> None:
        spark.stop()
