"""The peer of bench/stations: Spark's own parse and window aggregation over the same topic, once through.

python -m bench.stations_peer TOPIC MESSAGES_PER_BATCH OBSERVATIONS   (prints observations per second)
"""

from __future__ import annotations

import sys

from pyspark.sql import functions as F

from bench.peer import rate, read_topic

POLL = "system_id string, observed_at long, stations array<struct<station_id:string,bikes:int>>"
STATE_STORE = "spark.sql.streaming.stateStore"
ROCKS = {
    f"{STATE_STORE}.providerClass": "org.apache.spark.sql.execution.streaming.state.RocksDBStateStoreProvider",
    f"{STATE_STORE}.rocksdb.changelogCheckpointing.enabled": "true",
}


def main() -> None:
    """Read the topic to its end and print the rate from the third batch on."""
    topic, per_batch, observations = sys.argv[1], sys.argv[2], int(sys.argv[3])
    records = read_topic(topic, per_batch, ROCKS)
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
    print(rate(counted.writeStream.outputMode("update"), observations))


if __name__ == "__main__":
    main()
