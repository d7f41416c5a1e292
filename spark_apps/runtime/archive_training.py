"""A driver's first micro-batches without Kafka or a store, for the JVM to note which classes a driver needs.

    python -m spark_apps.runtime.archive_training ARCHIVE SCRATCH

Run by millrace.local.class_archive. The JVM writes the archive when it ends in order.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from millrace.catalog import StreamSpec
from spark_apps.runtime.session import JAVA_OPTIONS, start_session

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

OF_KAFKA = (
    "org.apache.kafka.clients.consumer.KafkaConsumer",
    "org.apache.kafka.clients.consumer.internals.ClassicKafkaConsumer",
    "org.apache.kafka.clients.admin.KafkaAdminClient",
    "org.apache.kafka.common.network.Selector",
    "org.apache.kafka.common.protocol.ApiKeys",
    "org.apache.spark.sql.kafka010.KafkaMicroBatchStream",
    "org.apache.spark.sql.kafka010.KafkaBatchPartitionReader",
    "org.apache.spark.sql.kafka010.KafkaOffsetReaderAdmin",
    "org.apache.spark.sql.kafka010.consumer.KafkaDataConsumer",
)
"""Where a stream's own first steps lead in the JVM; what they need in turn comes with them."""
BATCHES = 3


def main(archive: Path, scratch: Path) -> None:
    """Run, and end the JVM in order."""
    spec = StreamSpec(
        name="training",
        app="training",
        source="rate://10",  # type: ignore[arg-type]
        sinks=("console",),  # type: ignore[arg-type]
        spark_conf={JAVA_OPTIONS: f"-XX:ArchiveClassesAtExit={archive}"},
    )
    spark = start_session(spec, scratch / "scratch")
    enough = threading.Semaphore(0)

    def commit(records: DataFrame, _: int) -> None:
        records.selectExpr("CAST(value AS string) AS key").coalesce(1).mapInArrow(
            _work, "summary string"
        ).collect()
        enough.release()

    for name in OF_KAFKA:
        spark._jvm.java.lang.Class.forName(name)
    topic = spark.readStream.format("kafka").option("kafka.bootstrap.servers", "127.0.0.1:1")
    topic.option("subscribe", "none").load()
    rows = spark.readStream.format("rate-micro-batch").option("rowsPerBatch", "10").load()
    query = (
        rows.writeStream.option("checkpointLocation", f"file://{scratch / 'checkpoint'}")
        .trigger(processingTime="100 milliseconds")
        .foreachBatch(commit)
        .start()
    )
    for _ in range(BATCHES):
        enough.acquire(timeout=120)
    query.stop()
    gateway = spark.sparkContext._gateway
    spark.stop()
    gateway.shutdown()
    gateway.proc.stdin.close()  # how Spark's own gateway hears that Python has ended
    gateway.proc.wait(240)


def _work(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        yield pa.RecordBatch.from_pydict({"summary": [str(batch.num_rows)]})


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
