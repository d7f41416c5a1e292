"""A feed that may have a successor sends nothing, and withdraws what Kafka has not taken. There is no broker here."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest

from millrace.control.lease import Lease
from millrace.feeds.interrupted import Interrupted
from millrace.feeds.sink import DeliveryError, KafkaSink
from millrace.feeds.stop import Stop
from tests.conftest import wait_until

SOON = 60.0


class Bench:
    """A sink with a lease of 20 s on a clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 0.0
        self.stop = Stop()
        self.lease = Lease(timedelta(seconds=30), now=lambda: self.now)
        self.lease.renew(0)
        self.sink = KafkaSink("127.0.0.1:1", feed="orders", topic="orders", stop=self.stop, lease=self.lease)
        self.outcome: list[BaseException | None] = []

    def sends_apart(self) -> threading.Thread:
        def send() -> None:
            try:
                self.sink.send(b"one")
            except Exception as error:
                self.outcome.append(error)
            else:
                self.outcome.append(None)

        thread = threading.Thread(target=send)
        thread.start()
        return thread

    def logged(self, caplog: pytest.LogCaptureFixture, words: str) -> bool:
        return any(words in record.getMessage() for record in caplog.records)


@pytest.fixture
def bench(caplog: pytest.LogCaptureFixture) -> Iterator[Bench]:
    caplog.set_level(logging.INFO, logger="millrace.feeds.sink")
    made = Bench()
    yield made
    made.sink._producer.purge()
    made.sink._producer.flush(10)
    made.sink._closing.set()


def test_it_pauses_says_so_and_goes_on(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.now = 20
    sending = bench.sends_apart()
    wait_until(
        lambda: bench.logged(caplog, "PAUSED: the object store has not said for 20 s"), SOON, "the pause"
    )
    assert (bench.outcome, bench.sink.waiting) == ([], 0)
    bench.lease.renew(20)
    sending.join(SOON)
    assert (bench.outcome, bench.sink.waiting) == ([None], 1)
    assert bench.logged(caplog, "goes on after a pause of")


def test_it_ends_when_it_is_told_to_while_it_is_paused(bench: Bench) -> None:
    bench.now = 20
    sending = bench.sends_apart()
    bench.stop.set()
    sending.join(SOON)
    (error,) = bench.outcome
    assert isinstance(error, Interrupted)
    assert "the message in hand is not sent" in str(error)


def test_what_kafka_has_not_taken_is_withdrawn_before_a_successor_begins_and_ends_the_feed(
    bench: Bench,
) -> None:
    for _ in range(3):
        bench.sink.send(b"one")
    bench.now = 24.9
    bench.sink._producer.flush(0.5)
    assert bench.sink.waiting == 3, "it may still arrive"
    bench.now = 25
    wait_until(lambda: bench.sink.waiting == 0, SOON, "the messages to be withdrawn")
    bench.lease.renew(25)
    with pytest.raises(DeliveryError, match=r"Kafka had not taken 3 message\(s\) when another instance"):
        bench.sink.send(b"another")
