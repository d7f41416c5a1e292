"""The peer of bench/stations: Spark's own parse and window aggregation over the same topic, once through.

python -m bench.stations_peer TOPIC MESSAGES_PER_BATCH OBSERVATIONS   (prints observations per second)
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from pyspark.sql import functions as F

from millrace import settings
from millrace.catalog import load_catalog
from spark_apps.runtime.session import start_session

POLL = "system_id string, observed_at long, stations array<struct<station_id:string,bikes:int>>"


def main() -> None:
    """Read the topic to its end and print the rate from the third batch on."""
    topic, per_batch, observations = sys.argv[1], sys.argv[2], int(sys.argv[3])
    found = settings.load()
    spec = load_catalog(found.catalog_dir).streams[os.environ["MILLRACE_BENCH_STREAM"]]
    scratch = Path(found.home) / "peer"
    provider = "org.apache.spark.sql.execution.streaming.state.RocksDBStateStoreProvider"
    conf = {
        "spark.sql.streaming.stateStore.providerClass": provider,
        "spark.sql.streaming.stateStore.rocksdb.changelogCheckpointing.enabled": "true",
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
    poll = records.select(F.from_json(F.col("value").cast("string"), POLL).alias("poll"))
    rows = poll.select(
        "poll.system_id", "poll.observed_at", F.explode("poll.stations").alias("station")
    ).select(
        "system_id", "station.station_id", "station.bikes", F.timestamp_seconds("observed_at").alias("at")
    )
    counted = (
        rows.withWatermark("at", "2 hours")
        .groupBy(F.window("at", "1 hour"), "system_id", "station_id")
        .agg(F.count("*").alias("observations"), F.max("bikes").alias("bikes"))
    )
    query = (
        counted.writeStream.outputMode("update")
        .format("noop")
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
    print(observations * share / seconds)


if __name__ == "__main__":
    main()
