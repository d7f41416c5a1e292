"""A feed under test: topics of its own on a real broker, what it sent, and a way to start and stop it."""

from __future__ import annotations

import base64
import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Consumer, KafkaException, TopicPartition

from millrace.catalog import Catalog, TopicSpec
from millrace.feeds.context import FeedContext
from millrace.feeds.envelope import EndOfInput, Page, decode
from millrace.feeds.sink import KafkaSink
from millrace.feeds.stop import Stop
from millrace.kafka_topics import ensure_topics

_numbers = itertools.count(1)


@dataclass(frozen=True)
class FeedBench:
    """Names unique to a test: the topic, and `feed` as the key of its dead letters."""

    bootstrap: str
    directory: Path
    topic: str
    feed: str

    @property
    def catalog(self) -> Catalog:
        topics = {name: TopicSpec(name=name) for name in (self.topic, "dead_letters")}
        return Catalog(topics=topics, streams={}, feeds={}, datasets={})

    def envelopes(self) -> list[Page | EndOfInput]:
        """Everything in the topic; each message is checked against the schema and for its key."""
        found = []
        for key, value in self.messages(self.topic):
            envelope = decode(value)
            assert key.decode() == (envelope.poll if isinstance(envelope, Page) else envelope).system_id
            found.append(envelope)
        return found

    def pages(self, system_id: str | None = None) -> list[Page]:
        return [
            envelope
            for envelope in self.envelopes()
            if isinstance(envelope, Page) and system_id in (None, envelope.poll.system_id)
        ]

    def dead_letters(self) -> list[dict[str, Any]]:
        """Those of this feed, with the decoded `body`."""
        letters = [json.loads(v) for key, v in self.messages("dead_letters") if key.decode() == self.feed]
        return [{**letter, "body": base64.b64decode(letter["body_base64"])} for letter in letters]

    def messages(self, topic: str) -> Iterator[tuple[bytes, bytes]]:
        """(key, value) of everything in a topic."""
        consumer = Consumer(
            {"bootstrap.servers": self.bootstrap, "group.id": "bench", "fetch.wait.max.ms": 10}
        )
        try:
            partition = TopicPartition(topic, 0, 0)
            _, high = consumer.get_watermark_offsets(partition, timeout=10)
            consumer.assign([partition])
            read, deadline = 0, time.monotonic() + 30
            while read < high:
                assert time.monotonic() < deadline, f"{read} of {high} messages of {topic} after 30 s"
                for message in consumer.consume(500, timeout=0.1):
                    assert message.error() is None
                    assert message.timestamp()[0] == TIMESTAMP_LOG_APPEND_TIME
                    read += 1
                    yield message.key(), message.value()
        finally:
            consumer.close()

    def values(self) -> list[bytes]:
        """The values of everything in the topic, for feeds whose messages have no key."""
        found = list(self.messages(self.topic))
        assert {key for key, _ in found} <= {None}
        return [value for _, value in found]

    def catalog_directory(self, feeds: dict[str, dict[str, object]]) -> Path:
        """A catalog on disk with these feeds, which send to the topic of the bench."""
        directory = self.directory / "catalog"
        directory.mkdir(exist_ok=True)
        contents: dict[str, dict[str, Any]] = {
            "feeds": {name: {"topic": self.topic, **feed} for name, feed in feeds.items()},
            "topics": {self.topic: {}, "dead_letters": {}},
            "streams": {},
            "datasets": {},
        }
        for name, content in contents.items():
            (directory / f"{name}.yaml").write_text(yaml.safe_dump(content))
        return directory

    @property
    def environment(self) -> dict[str, str]:
        """For a `millrace feed` process of its own."""
        return {
            **os.environ,
            "MILLRACE_HOME": str(self.directory / "home"),
            "MILLRACE_CATALOG": str(self.directory / "catalog"),
            "MILLRACE_KAFKA": self.bootstrap,
        }

    @contextmanager
    def process(self, name: str) -> Iterator[subprocess.Popen[bytes]]:
        """`millrace feed run NAME` as a process of its own; killed when the block ends before it does. What it says is
        in `<directory>/feed.log`."""
        command = [sys.executable, "-m", "millrace", "feed", "run", name]
        with (self.directory / "feed.log").open("ab") as log:
            process = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def count(self) -> int:
        """How many messages the topic holds; 0 while there is no topic."""
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": "bench"})
        try:
            low, high = consumer.get_watermark_offsets(TopicPartition(self.topic, 0), timeout=10)
        except KafkaException:
            return 0
        finally:
            consumer.close()
        return int(high - low)

    @contextmanager
    def running(self, run: Callable[[FeedContext], None]) -> Iterator[FeedContext]:
        """A feed in a thread for the length of a block; then it is stopped, and what it raised is raised."""
        ensure_topics(self.bootstrap, self.catalog.topics)
        stop = Stop()
        raised: list[BaseException] = []

        def target() -> None:
            try:
                with self.context(stop=stop) as context:
                    started.append(context)
                    run(context)
            except BaseException as error:
                raised.append(error)

        started: list[FeedContext] = []
        thread = threading.Thread(target=target)
        thread.start()
        try:
            while not started and thread.is_alive():
                thread.join(0.01)
            yield started[0]
        finally:
            stop.set()
            thread.join(30)
        assert not thread.is_alive()
        if raised:
            raise raised[0]

    @contextmanager
    def context(
        self, stop: Stop | None = None, *, once: bool = False, clock: Callable[[], float] = time.time
    ) -> Iterator[FeedContext]:
        ensure_topics(self.bootstrap, self.catalog.topics)
        stop = stop or Stop()
        with KafkaSink(self.bootstrap, feed=self.feed, topic=self.topic, stop=stop) as sink:
            yield FeedContext(
                self.feed, self.bootstrap, self.topic, self.directory, sink, stop, once=once, clock=clock
            )


def new_bench(bootstrap: str, directory: Path) -> FeedBench:
    name = f"feed_{os.getpid()}_{next(_numbers)}"
    return FeedBench(bootstrap, directory, topic=f"polls_{name}", feed=name)
