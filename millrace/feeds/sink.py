"""The edge to Kafka: messages and dead letters go out idempotent, in order, acknowledged by all replicas.

While no broker answers, messages wait here (up to `QUEUE_KILOBYTES`, then the feed waits too) and go out when
one is back: a broker's restart costs nothing. What a broker refuses for good ends the feed with an error, for a
feed that goes on after losing a message would publish wrong numbers.

A supervised feed sends only while it knows that it has no successor: see `millrace.control.lease`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

from confluent_kafka import KafkaError, Message, Producer

from millrace.control.lease import Lease
from millrace.feeds.dead_letters import dead_letter
from millrace.feeds.interrupted import Interrupted
from millrace.feeds.model import Rejection
from millrace.feeds.source_watch import SourceWatch
from millrace.feeds.stop import Stop
from millrace.kafka_access import Kafka, librdkafka

log = logging.getLogger(__name__)

Headers = Sequence[tuple[str, bytes]]

QUEUE_KILOBYTES = 64 * 1024
_COMPLAIN_EVERY = 30.0
_GIVE_UP_AFTER = 8.0
_LOOK_AT_LEASE = 0.1
_CLOSE_WITHIN = 15.0
"""Seconds. Together they must stay below what a supervisor waits before it kills."""


class DeliveryError(RuntimeError):
    """Messages did not reach Kafka; the message says how many, where to, why, and what to do."""


class KafkaSink:
    """Sends the messages of one feed. Use it as a context: leaving it delivers everything that was sent.

    `max_dead_letter` is the greatest message of the dead-letter topic, in bytes.
    """

    def __init__(
        self,
        bootstrap: Kafka,
        *,
        feed: str,
        topic: str,
        dead_letter_topic: str = "dead_letters",
        max_dead_letter: int = 4_000_000,
        stop: Stop | None = None,
        watch: SourceWatch | None = None,
        lease: Lease | None = None,
    ) -> None:
        self._lease = lease
        self._gave_up = False
        self._bootstrap = bootstrap
        self._feed = feed
        self._topic = topic
        self._dead_letter_topic = dead_letter_topic
        self._max_dead_letter = int(0.95 * max_dead_letter)  # a batch has some bytes of its own
        self._stop = stop or Stop()
        self._watch = watch or SourceWatch()
        self._failures: list[str] = []
        self._waiting = 0
        self._counting = threading.Lock()
        self._last_complaint = float("-inf")
        self._stop_seen: float | None = None
        self._producer = Producer(
            {
                **librdkafka(bootstrap),
                "client.id": f"millrace-feed-{feed}",
                "enable.idempotence": True,
                "acks": "all",
                "compression.type": "zstd",
                "linger.ms": 20,
                # 0: never give up by itself. Stopping has a deadline of its own, see close().
                "message.timeout.ms": 0,
                "message.max.bytes": 16_000_000,  # before compression; the topic's limit is after it
                "queue.buffering.max.kbytes": QUEUE_KILOBYTES,
                "error_cb": self._on_error,
                "log_level": 0,  # _on_error says it, in words
            }
        )
        # Delivery reports must be fetched, or they pile up: one way for feeds with and without asyncio.
        self._closing = threading.Event()
        self._poller = threading.Thread(target=self._poll, name="kafka-reports", daemon=True)
        self._poller.start()

    def __enter__(self) -> KafkaSink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except DeliveryError:
            if error is None:
                raise
            log.exception("while ending because of another error")

    def send(
        self,
        value: bytes,
        key: bytes | None = None,
        *,
        headers: Headers = (),
        on_stored: Callable[[], None] | None = None,
    ) -> None:
        """Hand over a message for the feed's topic. `on_stored` is called, from another thread, when Kafka has
        acknowledged it. Raises DeliveryError when an earlier one failed.
        """
        self._hold()
        self._watch.sent()
        self._produce(self._topic, key, value, headers, on_stored)

    def dead_letter(self, rejection: Rejection, *, system_id: str | None, fetched_at: int) -> None:
        """Hand over what could not be read. Raises DeliveryError when an earlier message failed."""
        self._hold()
        self._watch.rejected(rejection.reason, rejection.detail)
        value = dead_letter(self._feed, system_id, rejection, fetched_at, max_bytes=self._max_dead_letter)
        self._produce(self._dead_letter_topic, self._feed.encode("utf-8"), value)

    @property
    def waiting(self) -> int:
        """How many messages Kafka has not answered for. (The producer's own length counts errors of brokers too.)"""
        return self._waiting

    def close(self, timeout: float = _CLOSE_WITHIN) -> None:
        """Deliver what was sent, waiting at most `timeout` seconds. Raises DeliveryError for what was not."""
        waiting = self._producer.flush(timeout)
        self._closing.set()
        self._poller.join()
        if waiting:
            self._producer.purge()
            self._failures.append(
                f"{waiting} message(s) were not acknowledged within {timeout:g} s of stopping; is Kafka up?"
            )
        self._raise_failures()

    def _produce(
        self,
        topic: str,
        key: bytes | None,
        value: bytes,
        headers: Headers = (),
        on_stored: Callable[[], None] | None = None,
    ) -> None:
        self._raise_failures()

        def report(error: KafkaError | None, _: Message) -> None:
            self._count(-1)
            if error is not None:
                of = f" of {key.decode('utf-8', 'replace')!r}" if key is not None else ""
                self._failures.append(f"topic {topic}, {len(value)} bytes{of}: {error.str()}")
                log.error("Kafka at %s did not take a message: %s", self._bootstrap, self._failures[-1])
                return
            if topic == self._topic:
                self._watch.stored()
            if on_stored is not None:
                on_stored()

        while True:
            try:
                self._count(1)
                self._producer.produce(topic, value, key, headers=list(headers), on_delivery=report)
            except BufferError:
                self._count(-1)
                # Kafka is slower than the feed, or away. When asked to stop, it gets no more time than close().
                if self._stop.is_set and self._given_up():
                    raise DeliveryError(
                        f"Kafka at {self._bootstrap} takes nothing and the feed is asked to stop: the message in "
                        "hand is not sent"
                    ) from None
                time.sleep(0.02)
                self._hold()
            except Exception:
                self._count(-1)
                raise
            else:
                return

    def _count(self, change: int) -> None:
        with self._counting:
            self._waiting += change

    def _hold(self) -> None:
        """Wait until the feed may send. Raises Interrupted when it is asked to stop before that."""
        if self._lease is None or self._lease.held:
            return
        began = time.monotonic()
        log.warning(
            "%s: PAUSED: the object store has not said for %.0f s that this is still the newest instance of the feed, "
            "so another may be started. Nothing is sent until it does",
            self._feed,
            self._lease.seconds,
        )
        while not self._lease.held:
            if self._stop.wait(_LOOK_AT_LEASE):
                raise Interrupted(f"{self._feed}: ended while it was paused; the message in hand is not sent")
        log.warning(
            "%s: goes on after a pause of %.0f s: it is still the newest instance",
            self._feed,
            time.monotonic() - began,
        )

    def _give_up(self) -> None:
        """What Kafka has not taken until now would come beside what a successor sends, hours later if need be."""
        self._gave_up = True
        self._failures.append(
            f"Kafka had not taken {self._waiting} message(s) when another instance might have been started; they "
            "were withdrawn, and whoever is the newest sends them"
        )
        log.error("%s: %s", self._feed, self._failures[-1])
        self._producer.purge()

    def _given_up(self) -> bool:
        if self._stop_seen is None:
            self._stop_seen = time.monotonic()
        return time.monotonic() - self._stop_seen > _GIVE_UP_AFTER

    def _raise_failures(self) -> None:
        if self._failures:
            more = f" (and {len(self._failures) - 1} more)" if len(self._failures) > 1 else ""
            raise DeliveryError(
                f"not everything of feed {self._feed!r} reached Kafka at {self._bootstrap}: "
                f"{self._failures[0]}{more}. Mend the cause and start the feed again"
            )

    def _poll(self) -> None:
        while not self._closing.is_set():
            self._producer.poll(0.1)
            lost = self._lease is not None and self._lease.is_over
            if lost and not self._gave_up and self._waiting > 0:
                self._give_up()

    def _on_error(self, error: Any) -> None:
        if error.fatal():
            self._failures.append(f"the producer cannot go on: {error.str()}")
        elif error.code() == KafkaError._ALL_BROKERS_DOWN:
            now = time.monotonic()
            if now - self._last_complaint > _COMPLAIN_EVERY:
                self._last_complaint = now
                log.warning(
                    "Kafka at %s does not answer; %d message(s) wait here and go out when it is back",
                    self._bootstrap,
                    self._waiting,
                )
