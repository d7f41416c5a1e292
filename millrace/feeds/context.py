"""What every kind of feed is given to run with."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from millrace.feeds.dead_letters import Repeats
from millrace.feeds.model import Rejection
from millrace.feeds.secrets import redact, redact_bytes
from millrace.feeds.sink import KafkaSink
from millrace.feeds.source_watch import SourceWatch
from millrace.feeds.stop import Stop
from millrace.kafka_access import Kafka

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FeedContext:
    """One running feed: where it sends, where it keeps files, when it should stop, what time it is."""

    name: str
    bootstrap: Kafka
    topic: str
    directory: Path
    """The feed's own files, `<home>/feeds/<name>`."""
    sink: KafkaSink
    stop: Stop
    once: bool = False
    """Do what is due now, then end."""
    clock: Callable[[], float] = time.time
    repeats: Repeats = field(default_factory=Repeats)
    watch: SourceWatch = field(default_factory=SourceWatch)
    """Told what the source says; `Fetcher` and `Reconnect` do it for those who use them."""

    def now(self) -> int:
        """Whole epoch seconds UTC."""
        return int(self.clock())

    def reject(
        self, source: str, rejection: Rejection, *, system_id: str | None, then: str, fetched_at: int
    ) -> None:
        """Send what could not be read to the dead letters and say so; the same reply again is only counted.

        Secrets are hidden in it: a server may quote the request that it does not like.
        """
        rejection = Rejection(rejection.reason, redact(rejection.detail), redact_bytes(rejection.body))
        times = self.repeats.times(source, rejection)
        if times == 1:
            self.sink.dead_letter(rejection, system_id=system_id, fetched_at=fetched_at)
            kept = "kept in the dead letters"
        else:
            self.watch.rejected(rejection.reason, rejection.detail)
            kept = f"the same as before, {times} times now"
        log.warning(
            "%s: %s: %s (%d bytes, %s); %s",
            source,
            rejection.reason,
            rejection.detail,
            len(rejection.body),
            kept,
            then,
        )


def shown(moment: int) -> str:
    """Epoch seconds as people read them: 2026-11-21 11:40:30Z."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
