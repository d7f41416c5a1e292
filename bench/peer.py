"""What the peers have in common: Spark reading a topic once through, and how fast it was."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from pyspark.sql import DataFrame
from pyspark.sql.streaming import DataStreamWriter

from millrace import settings
from millrace.catalog import load_catalog
from spark_apps.runtime.kafka_source import FETCH_WAIT, MUCH_AT_A_TIME
from spark_apps.runtime.session import start_session

CONF = {
    "spark.sql.streaming.numRecentProgressUpdates": "5000",
    "spark.driver.memory": "2g",
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=4",
}


def read_topic(
    topic: str,
    per_batch: str,
    conf: dict[str, str] | None = None,
    tuned: bool = False,
) -> DataFrame:
    """A topic from its beginning, in a session like that of a driver; `tuned`: with the consumer's options of one."""
    found = settings.load()
    spec = load_catalog(found.catalog_dir).streams[os.environ["MILLRACE_BENCH_STREAM"]]
    spark = start_session(spec.model_copy(update={"spark_conf": CONF | (conf or {})}), _scratch())
    return (
        spark.readStream.format("kafka")
        .option("kafka.bootstrap.servers", found.kafka)
        .option("subscribe", topic)
        .option("startingOffsets", "earliest")
        .option("maxOffsetsPerTrigger", per_batch)
        .options(**FETCH_WAIT, **(MUCH_AT_A_TIME if tuned else {}))
        .load()
    )


def rate(counted: DataStreamWriter, rows: int) -> float:
    """Run a query to the end of its topic, keep nothing; rows per second from the third micro-batch on."""
    checkpoint = _scratch() / "checkpoint"
    shutil.rmtree(checkpoint, ignore_errors=True)  # of another peer: this one begins anew
    query = (
        counted.format("noop")
        .option("checkpointLocation", f"file://{checkpoint}")
        .trigger(availableNow=True)
        .start()
    )
    query.awaitTermination()
    batches = [progress for progress in query.recentProgress if progress["numInputRows"]]
    messages = sum(progress["numInputRows"] for progress in batches)
    steady = batches[2:]
    seconds = sum(progress["durationMs"]["triggerExecution"] for progress in steady) / 1000
    return rows * sum(progress["numInputRows"] for progress in steady) / messages / seconds


def _scratch() -> Path:
    return settings.load().home / "peer"
