"""The running stack as the trials see it from outside: its store, its Kafka, its Airflow, and whether it is right."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Literal

import httpx
from confluent_kafka import Consumer, KafkaException, TopicPartition

from millrace import settings
from millrace.catalog import Catalog, load_catalog
from millrace.control.process import NOT_RUNNING, ProcessState
from millrace.local.airflow_api import AirflowApi
from millrace.local.errors import StackError
from millrace.publish.compact import compact_hours
from millrace.publish.due import due_hours
from millrace.settings import PROJECT_ROOT, Settings
from millrace.store import S3Store, StoreError, open_store
from spark_apps.runtime.carried_state import Manifest, newest_manifest
from tests.chaos.lane import FAR
from tests.compose.recount import (
    RECOUNTS,
    Key,
    Recount,
    Values,
    differences,
    hour_of,
    in_short,
    read_topic,
)
from tests.compose.stack import Stack, StackFailed
from tests.integration.streams import rows_in

FEEDS = ("feed-city", "feed-orders", "feed-posts_demo")
SETTLED_WITHIN = 900.0
PATIENCE = 900.0
UP_WITHIN = 1800
"""Seconds for a count, for something to come back, for all to come up, on a machine that may be slow: no time is
judged."""


@dataclass(frozen=True)
class Compared:
    """What was compared of one dataset, without a difference."""

    dataset: str
    records: int
    hours: int
    rows: int


@dataclass(frozen=True)
class Scene:
    stack: Stack
    variables: dict[str, str]
    """Of the stack's `.env`."""
    home: Path
    """A directory for what this process keeps: it is no part of the stack."""

    @cached_property
    def settings(self) -> Settings:
        return settings.load(
            {
                "MILLRACE_HOME": str(self.home),
                "MILLRACE_KAFKA": f"localhost:{self.variables['KAFKA_PORT']}",
                "MILLRACE_S3_ENDPOINT": f"http://127.0.0.1:{self.variables['S3_PORT']}",
                "MILLRACE_S3_IF_MATCH": "atomic",
                "AWS_ACCESS_KEY_ID": self.variables["S3_ACCESS_KEY"],
                "AWS_SECRET_ACCESS_KEY": self.variables["S3_SECRET_KEY"],
            }
        )

    @cached_property
    def store(self) -> S3Store:
        return open_store(self.settings)

    @cached_property
    def catalog(self) -> Catalog:
        return load_catalog(PROJECT_ROOT / "catalog")

    @property
    def api(self) -> AirflowApi:
        return AirflowApi(
            f"http://127.0.0.1:{self.variables['AIRFLOW_PORT']}", self.variables["AIRFLOW_ADMIN_PASSWORD"]
        )

    def end_of(self, topic: str) -> int:
        """The next offset of a topic's only partition. Raises KafkaException while Kafka is away."""
        consumer = Consumer({"bootstrap.servers": self.settings.kafka, "group.id": "trials", "log_level": 0})
        try:
            return int(consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=10)[1])
        finally:
            consumer.close()

    def manifest(self, stream: str) -> Manifest:
        found = newest_manifest(self.store, stream)
        assert found is not None, f"{stream} has never committed"
        return found

    def committed(self, stream: str) -> int:
        """How many records of its topic are in the stream's committed state."""
        return sum(self.manifest(stream).offsets.values())

    def generations(self) -> dict[str, int]:
        return {one.stream: self.manifest(one.stream).generation for one in RECOUNTS}

    def wait(
        self, condition: Callable[[], object], what: str, *, within: float = PATIENCE, about: str = ""
    ) -> None:
        """Until a condition is true; that a part does not answer meanwhile means that it is not yet."""

        def holds() -> bool:
            with suppress(StoreError, StackError, KafkaException, httpx.HTTPError):
                return bool(condition())
            return False

        self.stack.wait(holds, within, what, about=about, every=1.0)

    def next_commits(self) -> float:
        """Seconds until every stream has committed records that are not in Kafka yet."""
        began = time.monotonic()
        ends: dict[str, int] = {}
        for one in RECOUNTS:
            self.wait(
                lambda one=one: ends.setdefault(one.stream, self.end_of(one.topic)) is not None,
                "Kafka to answer",
            )
        for one in RECOUNTS:
            self.wait(
                lambda one=one: self.committed(one.stream) > ends[one.stream],
                f"{one.stream} to commit what comes from now on",
                about="streamhost",
            )
        return time.monotonic() - began

    @contextmanager
    def still(self) -> Iterator[None]:
        """With the feeds stopped, as a person stops them, and all they brought counted; then they go on."""
        self._order("stop")
        try:
            for one in RECOUNTS:
                self.wait(
                    lambda one=one: self.committed(one.stream) == self.end_of(one.topic),
                    f"{one.stream} to count everything that is in {one.topic}",
                    within=SETTLED_WITHIN,
                    about="streamhost",
                )
            yield
        finally:
            self._order("start")

    def _order(self, action: Literal["stop", "start"]) -> None:
        """To all feeds, through the command in a container; until the stream host says that it is done."""
        for feed in FEEDS:
            self._stream_command(action, feed, "--why", "trial")
        arrived = NOT_RUNNING if action == "stop" else {ProcessState.RUNNING}
        for feed in FEEDS:
            # Not by the feed's own last word: one that was killed for being slow to end has none.
            self.wait(
                lambda feed=feed: self._process(feed) in arrived, f"{feed} to {action}", about="streamhost"
            )

    def _process(self, feed: str) -> str | None:
        """The state of a feed's process; None when that is not known."""
        said = self._stream_command("status", feed, "--json", check=False)  # 1 when it is not healthy
        try:
            return str(json.loads(said[said.index("{") :])["process"])
        except ValueError:
            return None

    def _stream_command(self, *words: str, check: bool = True) -> str:
        return self.stack.compose(
            "exec", "-T", "airflow-scheduler", "millrace", "stream", *words, within=PATIENCE, check=check
        )

    def compact(self) -> None:
        """A run of compact_hourly, by hand, to its end."""
        run = ""

        def begun() -> bool:
            nonlocal run
            run = self.api.trigger("compact_hourly")
            return True

        self.wait(begun, "Airflow to take an order", about="airflow-api-server")
        self.wait(
            lambda: self.api.run_state("compact_hourly", run) in ("success", "failed"),
            "the run of compact_hourly to end",
            about="airflow-scheduler",
        )
        if (state := self.api.run_state("compact_hourly", run)) != "success":
            raise StackFailed(f"the run {run} of compact_hourly ended as {state}\n{self.stack.last_words()}")

    def compare(self) -> list[Compared]:
        """Everything that was ever sent with everything published, row by row. Raises AssertionError with the rows.

        Hours that have ended must have been published by the stack's own DAG. The hour that goes on is published here,
        by the same functions: no DAG would do so before its end.
        """
        with self.still():
            over = int(datetime.now(UTC).timestamp() - 600) // 3600
            self.compact()
            found = []
            for one in RECOUNTS:
                dataset = self.catalog.datasets[one.dataset]
                records = read_topic(self.settings.kafka, one.topic)
                truth = one.truth(records)
                by_airflow = {key: row for key, row in truth.items() if hour_of(key) < over}
                wrong = one.holes(records) + differences(
                    by_airflow, [pair for pair in self._rows(one) if hour_of(pair[0]) < over]
                )
                for done in compact_hours(self.store, dataset, due_hours(self.store, dataset, FAR)):
                    assert done.outcome in ("published", "unchanged"), (
                        f"{one.dataset} {done.hour}: {done.error}"
                    )
                rows = self._rows(one)
                wrong += differences(truth, rows)
                assert not wrong, f"{one.dataset}: {in_short(wrong)}"
                found.append(
                    Compared(one.dataset, len(records), len({hour_of(key) for key, _ in rows}), len(rows))
                )
        return found

    def _rows(self, one: Recount) -> list[tuple[Key, Values]]:
        """Every published row of a dataset, by an ordinary Parquet reader."""
        return [one.row(row) for row in rows_in(self.store, self.catalog.datasets[one.dataset])[0]]

    def published(self) -> dict[str, dict[Key, Values]]:
        """Every published row of every dataset."""
        return {one.dataset: dict(self._rows(one)) for one in RECOUNTS}


def in_words(compared: Sequence[Compared]) -> str:
    return "; ".join(
        f"{one.dataset}: {one.rows:,} rows of {one.hours} hours equal the recount of {one.records:,} messages"
        for one in compared
    )
