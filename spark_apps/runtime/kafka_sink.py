"""Messages from a driver to a Kafka topic."""

from __future__ import annotations

from collections.abc import Sequence

from millrace.kafka_access import Kafka, librdkafka
from spark_apps.runtime.errors import SinkUnavailable

DELIVER_WITHIN = 30.0
"""Seconds that Kafka may take to acknowledge a batch's messages before the batch is tried again."""


class KafkaMessages:
    """Messages to a topic, acknowledged before the batch is committed: so none is lost, and one may come twice.

    Every message carries the headers `stream`, `generation`, `batch` and `driver_epoch`. A message that comes
    twice has the same key, generation and batch, and the same value: a reader keeps the first.
    """

    def __init__(self, bootstrap: Kafka, topic: str, stream: str) -> None:
        from confluent_kafka import Producer

        self._topic, self._stream = topic, stream
        self._producer = Producer(
            {
                **librdkafka(bootstrap),
                "client.id": f"millrace-stream-{stream}",
                "enable.idempotence": True,
                "acks": "all",
                "linger.ms": 5,
                "log_level": 2,
            }
        )

    def send(
        self, messages: Sequence[tuple[str, str]], *, generation: int, batch: int, driver_epoch: int
    ) -> None:
        """Deliver a batch's messages. Raises SinkUnavailable when Kafka did not acknowledge all of them."""
        failures: list[str] = []
        headers: list[tuple[str, str | bytes | None]] = [
            ("stream", self._stream),
            ("generation", str(generation)),
            ("batch", str(batch)),
            ("driver_epoch", str(driver_epoch)),
        ]
        for key, value in messages:
            self._producer.produce(
                self._topic,
                value.encode(),
                key.encode(),
                headers=headers,
                on_delivery=lambda error, _: failures.append(error.str()) if error else None,
            )
        waiting = self._producer.flush(DELIVER_WITHIN)
        if waiting:
            self._producer.purge()
            self._producer.flush(1)
            failures.append(f"{waiting} message(s) not acknowledged within {DELIVER_WITHIN:g} s")
        if failures:
            raise SinkUnavailable(f"Kafka did not take the messages for topic {self._topic}: {failures[0]}")
