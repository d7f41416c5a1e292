"""Reading a topic: the streaming DataFrame, and what the broker holds, asked apart from the query."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from millrace.catalog import StreamSpec
from millrace.kafka_access import Kafka, LastError, librdkafka, spark_options
from spark_apps.runtime.errors import BadConfiguration

if TYPE_CHECKING:
    from confluent_kafka import Consumer
    from pyspark.sql import DataFrame, SparkSession

FETCH_WAIT = {"kafka.fetch.max.wait.ms": "10"}
"""The consumer's long poll blocks Spark's offset look-up; 500 ms, the default, makes a small micro-batch
take 0.8 s instead of 0.26 s."""
MUCH_AT_A_TIME = {"kafka.max.poll.records": "20000", "kafka.max.partition.fetch.bytes": str(8 << 20)}
"""What the consumer fetches and hands over at once; with 500 records, the default, a micro-batch of many small ones
spends a third of its time on that. How much it holds is bounded in bytes."""
EARLIEST = -2


def read_topic(spark: SparkSession, spec: StreamSpec, bootstrap: Kafka, starting_offsets: str) -> DataFrame:
    """Records of a topic as Spark has them: key, value, topic, partition, offset, timestamp."""
    return (
        spark.readStream.format("kafka")
        .options(**spark_options(bootstrap))
        .option("subscribe", spec.topic)
        .option("startingOffsets", starting_offsets)
        .option("maxOffsetsPerTrigger", spec.max_messages_per_batch)
        .options(**FETCH_WAIT, **MUCH_AT_A_TIME)
        .option("failOnDataLoss", "true")
        .load()
    )


def starting_offsets(topic: str, partitions: int, offsets: Mapping[str, int] | None) -> str:
    """Spark's `startingOffsets`: after what a state has already seen, or from the beginning."""
    if offsets is None:
        return "earliest"
    return json.dumps({topic: {str(p): offsets.get(str(p), EARLIEST) for p in range(partitions)}})


class TopicOffsets:
    """The first and next offsets of a topic, from a consumer of its own."""

    def __init__(self, bootstrap: Kafka, topic: str) -> None:
        from confluent_kafka import Consumer

        self._topic = topic
        self._said = LastError()
        self._consumer: Consumer = Consumer(
            {
                **librdkafka(bootstrap),
                "group.id": "millrace-offsets",
                "enable.auto.commit": False,
                "log_level": 2,
                "error_cb": self._said,
            }
        )

    def partitions(self, timeout: float = 20) -> int:
        """How many partitions the topic has. Raises BadConfiguration when there is no such topic."""
        from confluent_kafka import KafkaException

        try:
            found = self._consumer.list_topics(self._topic, timeout=timeout).topics[self._topic]
        except KafkaException as error:
            raise ConnectionError(f"Kafka does not answer: {self._said.of(self._consumer, error)}") from error
        if found.error is not None or not found.partitions:
            raise BadConfiguration(
                f"Kafka has no topic {self._topic!r}: start its feed once, which creates it from catalog/topics.yaml"
            )
        return len(found.partitions)

    def bounds(self, partitions: int, timeout: float = 5) -> dict[str, tuple[int, int]]:
        """Partition (as text) to (first offset held, next offset to be written). May raise KafkaException."""
        from confluent_kafka import TopicPartition

        return {
            str(number): self._consumer.get_watermark_offsets(
                TopicPartition(self._topic, number), timeout=timeout, cached=False
            )
            for number in range(partitions)
        }

    def offsets_at(self, moment: datetime, partitions: int, timeout: float = 10) -> dict[str, int]:
        """Partition to its first record appended at or after a moment (the end when there is none)."""
        from confluent_kafka import TopicPartition

        milliseconds = int(moment.timestamp() * 1000)
        asked = [TopicPartition(self._topic, number, milliseconds) for number in range(partitions)]
        found = self._consumer.offsets_for_times(asked, timeout=timeout)
        ends = self.bounds(partitions)
        return {str(p.partition): p.offset if p.offset >= 0 else ends[str(p.partition)][1] for p in found}

    def close(self) -> None:
        self._consumer.close()


def check_still_held(topic: str, wanted: Mapping[str, int], held: Mapping[str, tuple[int, int]]) -> None:
    """Raises BadConfiguration when Kafka no longer has what comes next after a state."""
    for partition, offset in sorted(wanted.items()):
        if partition not in held:
            raise BadConfiguration(
                f"topic {topic} has no partition {partition} any more; the number of partitions is fixed: "
                "create the topic with as many as before, or reset the stream (`millrace stream reset`)"
            )
        first, end = held[partition]
        if offset < first:
            raise BadConfiguration(
                f"topic {topic}, partition {partition}: the next record is offset {offset}, but Kafka holds only "
                f"{first} and later: {first - offset} records are gone. Lengthen its retention; "
                "`millrace stream reset` goes on without them if the open hours are still whole"
            )
        if offset > end:
            raise BadConfiguration(
                f"topic {topic}, partition {partition}: the next record is offset {offset}, but Kafka ends at {end}: "
                "the topic was created anew or this is another Kafka. Point MILLRACE_KAFKA to the right one, or "
                "reset the stream (`millrace stream reset`)"
            )
