"""Reading a range of offsets of a topic once more, without Spark: the records as a fold takes them."""

from __future__ import annotations

import time
from collections.abc import Mapping

import polars as pl

from millrace.kafka_access import Kafka, librdkafka
from spark_apps.runtime.keyed_fold import RECORDS

WITHIN = 60.0
"""Seconds for all of it; a micro-batch of 100,000 messages takes about one."""


def read_range(bootstrap: Kafka, topic: str, spans: Mapping[str, tuple[int, int]]) -> pl.DataFrame:
    """The records (see RECORDS) of `spans`: partition to (first, next) offset, in order.

    Raises ConnectionError when Kafka does not give them in time.
    """
    from confluent_kafka import Consumer, KafkaError, TopicPartition

    wanted = {int(partition): span for partition, span in spans.items() if span[1] > span[0]}
    consumer = Consumer(
        {
            **librdkafka(bootstrap),
            "group.id": "millrace-preflight",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "error",
            "log_level": 2,
        }
    )
    rows: list[tuple[bytes | None, bytes | None, int, int, int]] = []
    waiting = set(wanted)
    deadline = time.monotonic() + WITHIN
    try:
        consumer.assign([TopicPartition(topic, partition, span[0]) for partition, span in wanted.items()])
        while waiting:
            if time.monotonic() > deadline:
                raise ConnectionError(f"Kafka did not give the records of {topic} within {WITHIN:.0f} s")
            for message in consumer.consume(10_000, timeout=0.5):
                partition = message.partition()
                if message.error() is not None:
                    if message.error().code() != KafkaError._PARTITION_EOF:
                        raise ConnectionError(f"Kafka: {message.error().str()}")
                elif message.offset() < wanted[partition][1]:
                    row = (
                        message.key(),
                        message.value(),
                        partition,
                        message.offset(),
                        message.timestamp()[1],
                    )
                    rows.append(row)
            for position in consumer.position([TopicPartition(topic, partition) for partition in waiting]):
                if position.offset >= wanted[position.partition][1]:
                    waiting.discard(position.partition)
    finally:
        consumer.close()
    return pl.DataFrame(rows, schema=RECORDS, orient="row").sort("partition", "offset")
