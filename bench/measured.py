"""Filling a topic and timing a real driver over it."""

from __future__ import annotations

import time
from collections.abc import Iterable

from confluent_kafka import Producer

from bench.embedded import Embedded
from millrace.catalog import TopicSpec
from millrace.kafka_topics import ensure_topics
from millrace.store import S3Store, open_store
from spark_apps.runtime.carried_state import CarriedState, Manifest, newest_manifest

FOR_THROUGHPUT = {
    "driver_memory": "1g",
    "spark_conf": {"spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=4"},
}
"""The catalog's defaults start fast and stay small; a stream of many small messages wants the JVM's second
compiler (152 k against 112 k a second). The peer gets the same, and 2 GB."""


def rate_of(stack: Embedded, topic: str, environment: dict[str, str], messages: int) -> float:
    """Observations per second of a real driver between its second and its last committed batch."""
    store = open_store(stack.settings)
    seen: list[tuple[float, Manifest]] = []
    with stack.driver(environment):
        while not seen or sum(seen[-1][1].offsets.values()) < messages:
            time.sleep(0.1)
            manifest = newest(store, stack.stream_name(topic), seen[-1][1] if seen else None)
            if manifest is not None:
                seen.append((time.monotonic(), manifest))
    (began, first), (ended, last) = seen[1], seen[-1]
    return (last.totals["observations"] - first.totals["observations"]) / (ended - began)


def newest(store: S3Store, stream: str, known: Manifest | None) -> Manifest | None:
    """A manifest after the known one; by name, because listing costs the server as much as a batch does."""
    if known is None:
        return newest_manifest(store, stream)
    state = CarriedState(store, stream, known.generation)
    found = None
    while (following := state.manifest((found or known).batch + 1)) is not None:
        found = following
    return found


def fill(stack: Embedded, topic: str, records: Iterable[tuple[bytes | None, bytes]]) -> int:
    """Make a topic and send (key, value) records to it; how many they were."""
    ensure_topics(stack.kafka, {topic: TopicSpec(name=topic)})
    producer = Producer(
        {"bootstrap.servers": stack.kafka, "linger.ms": 20, "compression.type": "zstd",
         "queue.buffering.max.kbytes": 400_000, "queue.buffering.max.messages": 500_000}
    )  # fmt: skip
    count = 0
    for key, value in records:
        while True:
            try:
                producer.produce(topic, key=key, value=value)
                break
            except BufferError:
                producer.poll(0.1)
        count += 1
    producer.flush()
    return count
