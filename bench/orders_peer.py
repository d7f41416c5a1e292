"""The peer of bench/orders: Spark reads the topic and splits its lines, once through.

python -m bench.orders_peer TOPIC MESSAGES_PER_BATCH LINES   (prints lines per second)
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from pyspark.sql import functions as F

from millrace import settings
from millrace.catalog import load_catalog
from spark_apps.runtime.session import start_session


def main() -> None:
    """Read the topic to its end and print the rate from the third batch on."""
    topic, per_batch, lines = sys.argv[1], sys.argv[2], int(sys.argv[3])
    found = settings.load()
    spec = load_catalog(found.catalog_dir).streams[os.environ["MILLRACE_BENCH_STREAM"]]
    scratch = Path(found.home) / "peer"
    conf = {
        "spark.sql.streaming.numRecentProgressUpdates": "5000",
        "spark.driver.memory": "2g",
        "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=4",
    }
    spark = start_session(spec.model_copy(update={"spark_conf": conf}), scratch)
    records = (
        spark.readStream.format("kafka")
        .option("kafka.bootstrap.servers", found.kafka)
        .option("subscribe", topic)
        .option("startingOffsets", "earliest")
        .option("maxOffsetsPerTrigger", per_batch)
        .option("kafka.fetch.max.wait.ms", "10")
        .load()
    )
    parts = F.split(F.col("value").cast("string"), ",")
    query = (
        records.select(*(parts[number].alias(f"field_{number}") for number in range(7)))
        .writeStream.format("noop")
        .option("checkpointLocation", f"file://{scratch / 'checkpoint'}")
        .trigger(availableNow=True)
        .start()
    )
    query.awaitTermination()
    batches = [progress for progress in query.recentProgress if progress["numInputRows"]]
    messages = sum(progress["numInputRows"] for progress in batches)
    steady = batches[2:]
    seconds = sum(progress["durationMs"]["triggerExecution"] for progress in steady) / 1000
    share = sum(progress["numInputRows"] for progress in steady) / messages
    print(lines * share / seconds)


if __name__ == "__main__":
    main()
