"""Feeds with a known truth: what was sent, in order, and what an oracle makes of it.

They go on while things break: an idempotent producer that never gives up, so that Kafka holds each record
once and in order.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Protocol

from confluent_kafka import Consumer, Producer, TopicPartition

from tests.oracles.orders import Book
from tests.oracles.stations import Message, movements

BEGINS = int(datetime(2026, 3, 1, tzinfo=UTC).timestamp())
"""Event time of the first record: far enough in the past never to meet the wall clock."""
SUMS = ("orders", "quantity", "amount", "buys", "sells")
MOVES = ("total_rental", "total_return", "observations", "gaps", "last_observed_at", "bikes_at_end")

Rows = dict[int, dict[Any, tuple[Any, ...]]]
"""Hour since the epoch to key to values."""


class Truth(Protocol):
    """Makes records, and knows what must come out of them."""

    dataset: str

    def records(self, dice: random.Random, step: float) -> Iterator[tuple[bytes | None, bytes]]:
        """Records without end; event time goes on by about `step` seconds with each."""
        ...

    def rows(self) -> Rows:
        """What must be published of all records so far."""
        ...

    def rejected(self) -> set[int]:
        """The numbers of the records that must be rejected."""
        ...

    def row_of(self, row: dict[str, Any]) -> tuple[Any, tuple[Any, ...]]:
        """Key and values of a published row."""
        ...


class OrdersTruth:
    """Orders of 100 clients for 40 symbols; late ones, repeats and garbage among them."""

    dataset = "orders_hourly"

    def __init__(self) -> None:
        self._book = Book(late_by=3600)
        self._count = 0

    def records(self, dice: random.Random, step: float) -> Iterator[tuple[bytes | None, bytes]]:
        at = float(BEGINS)
        recent: list[bytes] = []
        for number in range(10**9):
            at += dice.uniform(0, 2 * step)
            late = dice.choice([0] * 30 + [600, 3000, 5000])
            when = datetime.fromtimestamp(int(at) - late, UTC)
            quantity, price = dice.randint(1, 1000), dice.choice(["51.00", "0.10", "7", "99.999999"])
            line = (
                f"{when:%Y-%m-%d %H:%M:%S},{number},{dice.randint(1, 100)},S{dice.randint(1, 40)},"
                f"{quantity},{price},{dice.choice('BS')}"
            ).encode()
            yield self._counted(line)
            recent = [*recent[-100:], line]
            if dice.random() < 0.05:
                yield self._counted(dice.choice(recent))
            if dice.random() < 0.01:
                yield self._counted(dice.choice([b"", b"\xff\xfe", line[:-1] + b"X", b"2099" + line[4:]]))

    def _counted(self, line: bytes) -> tuple[None, bytes]:
        self._book.add(self._count, line, int(time.time() * 1000))
        self._count += 1
        return None, line

    def rows(self) -> Rows:
        found: Rows = {}
        for (symbol, hour), row in self._book.rows.items():
            found.setdefault(hour, {})[symbol] = row
        return found

    def rejected(self) -> set[int]:
        return {number for number, _ in self._book.rejected}

    def row_of(self, row: dict[str, Any]) -> tuple[Any, tuple[Any, ...]]:
        return row["symbol"], tuple(row[name] for name in SUMS)


class StationsTruth:
    """Two systems of 12 stations; polls that are missing, late or come twice."""

    dataset = "hourly_summary"

    def __init__(self) -> None:
        self._messages: list[Message] = []

    def records(self, dice: random.Random, step: float) -> Iterator[tuple[bytes | None, bytes]]:
        bikes = {system: {f"st{n}": dice.randint(0, 20) for n in range(12)} for system in ("north", "south")}
        at = float(BEGINS)
        recent: list[Message] = []
        while True:
            at += dice.uniform(0, 2 * step)
            system = dice.choice(["north", "south"])
            counts = bikes[system]
            for station in counts:
                counts[station] = min(20, max(0, counts[station] + dice.choice([0, 0, 0, 1, -1, 2, -2])))
            when = int(at) - dice.choice([0] * 12 + [2000, 6000, 9000])
            seen = tuple((name, count) for name, count in counts.items() if dice.random() < 0.97)
            message = Message(system, when, 1 << 40, seen)
            yield self._counted(message)
            recent = [*recent[-20:], message]
            if dice.random() < 0.05:
                yield self._counted(dice.choice(recent))

    def _counted(self, message: Message) -> tuple[bytes, bytes]:
        self._messages.append(message)
        envelope = {
            "schema": 1,
            "kind": "poll",
            "system_id": message.system_id,
            "observed_at": message.observed_at,
            "fetched_at": message.observed_at,
            "page": 0,
            "pages": 1,
            "stations": [{"station_id": name, "bikes": count} for name, count in message.stations],
        }
        return message.system_id.encode(), json.dumps(envelope).encode()

    def rows(self) -> Rows:
        found: Rows = {}
        for (system, station, hour), row in movements(
            self._messages, late_by=7200, max_gap=7200
        ).rows.items():
            found.setdefault(hour, {})[system, station] = row
        return found

    def rejected(self) -> set[int]:
        truth = movements(self._messages, late_by=7200, max_gap=7200)
        return {number for number, _ in truth.rejected}

    def row_of(self, row: dict[str, Any]) -> tuple[Any, tuple[Any, ...]]:
        values = [row[name] for name in MOVES]
        values[4] = int(values[4].timestamp())
        return (row["system_id"], row["station_id"]), tuple(values)


class Feeder:
    """Sends a truth's records to a topic at a steady pace, in a thread of its own."""

    def __init__(
        self, kafka: str, topic: str, truth: Truth, *, seed: int, rate: float, hour_lasts: float
    ) -> None:
        """`rate`: records per second; `hour_lasts`: seconds of wall time for an hour of event time."""
        self.truth = truth
        self._kafka, self._topic, self._rate = kafka, topic, rate
        self._records = truth.records(random.Random(seed), 3600 / hour_lasts / rate)
        self._producer = Producer(
            {
                "bootstrap.servers": kafka,
                "enable.idempotence": True,
                "message.timeout.ms": 0,
                "reconnect.backoff.max.ms": 500,
                "socket.timeout.ms": 5000,
                "linger.ms": 5,
                "log_level": 0,
            }
        )
        self._sent: list[bytes] = []
        self.sent_at: list[float] = []
        """Of each record, by `time.monotonic`."""
        self._failed: list[str] = []
        self._running = threading.Event()
        self._idle = threading.Event()
        self._closing = threading.Event()
        self._jump = 0
        self._thread = threading.Thread(target=self._run, name=f"feeder {topic}", daemon=True)

    def start(self) -> None:
        self._running.set()
        self._thread.start()

    def stop(self) -> None:
        self._closing.set()
        self._running.set()
        if self._thread.is_alive():
            self._thread.join(30)

    def jump(self, seconds: int) -> None:
        """From now on claim that records were made so much later or earlier than now; 0: the truth."""
        self._jump = seconds

    def pause(self, within: float = 60) -> int:
        """Send nothing more until `resume`; how many records Kafka has acknowledged. Raises RuntimeError."""
        self._running.clear()
        if not self._idle.wait(30):
            raise RuntimeError(f"the feeder of {self._topic} does not pause")
        left = self._producer.flush(within)
        if left or self._failed:
            raise RuntimeError(f"Kafka did not take {left} records of {self._topic}: {self._failed[:3]}")
        return len(self._sent)

    def resume(self) -> None:
        self._idle.clear()
        self._running.set()

    def _run(self) -> None:
        due = time.monotonic()
        while not self._closing.is_set():
            if not self._running.is_set():
                self._idle.set()
                self._running.wait()
                due = time.monotonic()
            key, value = next(self._records)
            self._sent.append(value)
            self.sent_at.append(time.monotonic())
            stamp = {"timestamp": int((time.time() + self._jump) * 1000)} if self._jump else {}
            self._producer.produce(self._topic, value=value, key=key, on_delivery=self._note, **stamp)
            self._producer.poll(0)
            due += 1 / self._rate
            self._closing.wait(max(0.0, due - time.monotonic()))

    def _note(self, error: Any, _: Any) -> None:
        if error is not None:
            self._failed.append(error.str())

    def not_in_kafka(self) -> list[str]:
        """What is wrong with the topic, compared with what was sent: each record once and in order."""
        consumer = Consumer(
            {"bootstrap.servers": self._kafka, "group.id": "chaos", "enable.auto.commit": False}
        )
        try:
            _, end = consumer.get_watermark_offsets(TopicPartition(self._topic, 0), timeout=30)
            consumer.assign([TopicPartition(self._topic, 0, 0)])
            found: list[bytes] = []
            deadline = time.monotonic() + 120
            while len(found) < end and time.monotonic() < deadline:
                found += [one.value() or b"" for one in consumer.consume(5000, 1) if one.error() is None]
        finally:
            consumer.close()
        if found == self._sent:
            return []
        first = next((n for n, (a, b) in enumerate(zip(found, self._sent, strict=False)) if a != b), None)
        return [
            f"topic {self._topic}: {len(found)} records, {len(self._sent)} sent; the first to differ: {first}"
        ]
