"""Where the tasks of Spark run: in the driver's own process, or on the workers of a standalone cluster.

One setting for the whole deployment, which a stream of the catalog may overrule with `master`. The drivers of streams
stay on the stream host in either case: what is elsewhere is executors, which need the same code, jars and settings.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from millrace.settings_error import SettingsError

MASTER, DRIVER_HOST = "MILLRACE_SPARK_MASTER", "MILLRACE_SPARK_DRIVER_HOST"
LOCAL_MASTER = "local[2]"
CORES = "2"
"""Of each driver's executors, as many as `local[2]` has: a standalone master gives the first comer all there are."""
EXECUTOR_MEMORY = "512m"
"""The heap; Spark accepts no less than about 450 MB, and the heavy work is outside the JVM."""
_EXECUTOR_JAVA = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:+ExitOnOutOfMemoryError -Dfile.encoding=UTF-8"


@dataclass(frozen=True)
class SparkAccess:
    """`driver_host`: the name under which executors find the machine of their driver; None: Spark's own choice."""

    master: str = LOCAL_MASTER
    driver_host: str | None = None


OWN_PROCESS = SparkAccess()
"""Tasks run where their driver runs."""


def read_spark(value: Callable[[str], str | None]) -> SparkAccess:
    """The settings MILLRACE_SPARK_*. Raises SettingsError for a master that drivers of streams cannot use."""
    master = value(MASTER) or LOCAL_MASTER
    if not (is_local(master) or master.startswith("spark://")):
        raise SettingsError(
            f"{MASTER}={master!r}: drivers of streams run on the stream host, with their tasks in local[N] or on a "
            "standalone cluster, spark://HOST:PORT"
        )
    return SparkAccess(master, value(DRIVER_HOST))


def is_local(master: str) -> bool:
    return master == "local" or master.startswith("local[")


def place_conf(master: str, driver_host: str | None) -> dict[str, str]:
    """What a session is told of where its driver and its executors are."""
    if is_local(master):
        return {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
    conf = {
        "spark.driver.bindAddress": "0.0.0.0",  # noqa: S104 - executors are on other machines
        "spark.cores.max": CORES,
        "spark.executor.cores": CORES,
        "spark.executor.memory": EXECUTOR_MEMORY,
        "spark.executor.extraJavaOptions": _EXECUTOR_JAVA,
    }
    if driver_host is not None:
        conf["spark.driver.host"] = driver_host
    # A driver that goes on with kept code (docs/redeploy.md) must not have executors with other code.
    if path := os.environ.get("PYTHONPATH"):
        conf["spark.executorEnv.PYTHONPATH"] = path
    return conf
