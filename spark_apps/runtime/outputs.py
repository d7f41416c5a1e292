"""What a driver sends on besides facts: messages before a batch is committed, views after it."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

from millrace.catalog import StreamSpec
from millrace.settings import Settings
from millrace.store import ObjectStore
from spark_apps.runtime.console_sink import Console
from spark_apps.runtime.kafka_sink import KafkaMessages
from spark_apps.runtime.live_sink import LiveSink
from spark_apps.runtime.micro_batch import BucketSummary


class Outputs:
    """The sinks that a catalog entry names, apart from `facts`. Use it as a context."""

    def __init__(self, spec: StreamSpec, settings: Settings, store: ObjectStore, driver_epoch: int) -> None:
        self._epoch = driver_epoch
        self._topics = [
            KafkaMessages(settings.kafka_access, sink.address, spec.name)
            for sink in spec.sinks
            if sink.kind == "kafka"
        ]
        self._live = LiveSink(store, spec.name, driver_epoch) if spec.writes("live") else None
        self._console = Console() if spec.writes("console") else None

    def __enter__(self) -> Outputs:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.close()

    def send(self, summaries: Sequence[BucketSummary], *, generation: int, batch: int) -> None:
        """Before the commit: a batch that is done again sends the same again. Raises SinkUnavailable."""
        messages = [message for summary in summaries for message in summary.messages]
        for topic in self._topics if messages else ():
            topic.send(messages, generation=generation, batch=batch, driver_epoch=self._epoch)

    def show(self, summaries: Sequence[BucketSummary], *, batch: int) -> None:
        """After the commit: what is seen has been counted."""
        for summary in summaries:
            if summary.live is None:
                continue
            if self._live is not None:
                self._live.show(summary.live, batch=batch)
            if self._console is not None:
                self._console.show(summary.live, batch=batch)
