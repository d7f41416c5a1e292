"""Where a driver runs: alone in its process, with a JVM of its own, or in a shared one (shared_driver.py)."""

from __future__ import annotations

import os
import subprocess
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

    def jvm_exit(self) -> int | None:
        """With which exit code the JVM has ended; None while it runs, or when that is not known here."""
        ...


class OwnProcess:
    """The ordinary place: when the driver has ended, so has Spark."""

    def __init__(self) -> None:
        self.pid = os.getpid()

    def session(self, spec: StreamSpec, scratch: Path, /) -> SparkSession:
        return start_session(spec, scratch)

    def leave(self, spark: SparkSession) -> None:
        spark.stop()

    def jvm_exit(self) -> int | None:
        from pyspark import SparkContext

        gateway = SparkContext._gateway
        if gateway is None:
            return None
        try:
            # A connection that breaks is noticed before the end of the process is.
            return int(gateway.proc.wait(timeout=1))
        except subprocess.TimeoutExpired:
            return None
