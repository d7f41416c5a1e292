"""The Spark session of a driver, and what a batch app is submitted with: UTC, a small heap, the locked jars."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from millrace import settings
from millrace.catalog import StreamSpec
from millrace.kafka_access import jvm_environment
from millrace.local.class_archive import archive_options
from millrace.local.jars import jar_paths
from millrace.spark_access import SparkAccess, is_local, place_conf

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

JAVA_OPTIONS = "spark.driver.extraJavaOptions"
LOG_CONFIG = Path(__file__).with_name("log4j2.properties")


def start_session(spec: StreamSpec, scratch: Path) -> SparkSession:
    """A session for one stream; `scratch` takes Spark's temporary files."""
    from pyspark.sql import SparkSession

    # Executors in local mode are forked from here; without this Spark takes whatever `python3` is first.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    here = settings.load()
    master = spec.master or here.spark.master
    if is_local(master):
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    # The JVM inherits it: where Kafka asks for a login, its client there looks for it in this variable.
    os.environ.update(jvm_environment(here.kafka_security))
    scratch.mkdir(parents=True, exist_ok=True)
    jars = os.pathsep.join(str(path) for path in jar_paths("spark"))
    builder = SparkSession.builder.appName(f"millrace-{spec.name}").master(master)
    conf = _defaults(spec, scratch, jars) | place_conf(master, here.spark.driver_host)
    for name, value in spec.spark_conf.items():
        # Java options are added to ours (the JVM takes the last word of each); anything else replaces them.
        conf[name] = f"{conf[name]} {value}" if name == JAVA_OPTIONS else value
    for name, value in conf.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()


def batch_conf(scratch: Path, spark: SparkAccess) -> dict[str, str]:
    """What a batch app that spark-submit starts is given on its command line: no secret is in it.

    `scratch` takes Spark's temporary files. Raises StackError when the locked jars are not there.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    jars = os.pathsep.join(str(path) for path in jar_paths("spark"))
    # Where it is not said that executors are elsewhere, the connection may say yarn, which knows best itself.
    place = {} if is_local(spark.master) else place_conf(spark.master, spark.driver_host)
    return {
        **place,
        "spark.driver.memory": "512m",
        "spark.driver.extraClassPath": jars,
        "spark.executor.extraClassPath": jars,
        JAVA_OPTIONS: _java_options(scratch),
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.local.dir": str(scratch),
        "spark.sql.warehouse.dir": str(scratch / "warehouse"),
        "spark.sql.session.timeZone": "UTC",
        # A second attempt at a task that is still at work would be a second publisher of its hours.
        "spark.speculation": "false",
        "spark.python.worker.reuse": "true",
    }


def _java_options(scratch: Path) -> str:
    # The first compiler alone starts twice as fast, and the heavy work is outside the JVM. Java 17 reads a socket
    # in the encoding of the locale, which a service often has none of. A JVM without heap that goes on loses threads
    # here and there, and looks alive. Without -Xms the heap begins with 1/64 of the machine's memory, and stays there:
    # with 24 GB, 110 MB more of a driver that needs 60.
    return (
        "-Xms128m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:+ExitOnOutOfMemoryError -Dfile.encoding=UTF-8 "
        f"-Dlog4j2.configurationFile=file:{LOG_CONFIG} -Djava.io.tmpdir={scratch}"
        + "".join(f" {option}" for option in archive_options())
    )


def _defaults(spec: StreamSpec, scratch: Path, jars: str) -> dict[str, str]:
    return {
        "spark.driver.memory": spec.driver_memory,
        "spark.driver.extraClassPath": jars,
        "spark.executor.extraClassPath": jars,
        JAVA_OPTIONS: _java_options(scratch),
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.local.dir": str(scratch),
        "spark.sql.warehouse.dir": str(scratch / "warehouse"),
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": str(max(2, spec.buckets)),
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        "spark.sql.streaming.minBatchesToRetain": "10",
        "spark.sql.adaptive.enabled": "false",
    }
