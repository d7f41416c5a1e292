"""Running a feed: topics first, then its kind, and whatever ends it, everything fetched is delivered."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from importlib import import_module

from millrace.catalog import Catalog, FeedSpec, TopicSpec
from millrace.control.lease import Lease
from millrace.feeds.context import FeedContext
from millrace.feeds.kinds import KINDS
from millrace.feeds.replayed import fingerprint
from millrace.feeds.sink import KafkaSink
from millrace.feeds.source_watch import SourceWatch
from millrace.feeds.stop import Stop
from millrace.feeds.validate import parse_options, validate_feed
from millrace.kafka_access import Kafka
from millrace.kafka_topics import KafkaUnavailable, ensure_topics
from millrace.settings import Settings

log = logging.getLogger(__name__)

DEAD_LETTERS = "dead_letters"
_KAFKA_WITHIN = 60.0
_LOOK_AT_STOP = 5.0


def run_feed(
    spec: FeedSpec,
    settings: Settings,
    catalog: Catalog,
    *,
    once: bool = False,
    stop: Stop | None = None,
    clock: Callable[[], float] = time.time,
    watch: SourceWatch | None = None,
    lease: Lease | None = None,
    on_running: Callable[[], None] | None = None,
) -> None:
    """Run one feed until it ends or is asked to stop (SIGTERM, SIGINT, or `stop`).

    `once` does what is due now, then ends. `clock` gives epoch seconds. `watch` is told what is sent and what the
    source says. Nothing is sent while `lease` is not held, unless the kind may repeat itself. `on_running` is called
    once Kafka answers.

    Returns after everything fetched has been acknowledged. Raises CatalogError, TopicError, KafkaUnavailable,
    DeliveryError, and what the kind raises; all are errors with a message for a person.
    """
    validate_feed(spec)
    kind = KINDS[spec.kind]
    options = parse_options(spec, kind.options)
    for path in options.recordings:
        fingerprint(path)  # raises what the feed itself would, before it has said that it runs
    run = import_module(kind.module).run
    stop, watch = stop or Stop(), watch or SourceWatch()
    dead_letters = catalog.topics.get(DEAD_LETTERS) or TopicSpec(name=DEAD_LETTERS)
    topic = catalog.topics.get(spec.topic) or TopicSpec(name=spec.topic)
    # Before the signals are taken over: nothing is fetched yet, so a wait for Kafka may be interrupted.
    created = _topics(settings.kafka_access, [topic, dead_letters], stop)
    if created is None:
        return
    if created:
        log.info("created Kafka topic(s) %s at %s", ", ".join(created), settings.kafka)
    sink = KafkaSink(
        settings.kafka_access,
        feed=spec.name,
        topic=spec.topic,
        dead_letter_topic=dead_letters.name,
        max_dead_letter=dead_letters.max_message_bytes,
        stop=stop,
        watch=watch,
        lease=None if kind.may_repeat else lease,
    )
    watch.runs_at(options.pace)
    if on_running is not None:
        on_running()
    with stop.on_signals(), sink:
        context = FeedContext(
            name=spec.name,
            bootstrap=settings.kafka_access,
            topic=spec.topic,
            directory=settings.home / "feeds" / spec.name,
            sink=sink,
            stop=stop,
            once=once,
            clock=clock,
            watch=watch,
        )
        run(context, options)
    log.info("%s: ended; everything that was fetched is in Kafka", spec.name)


def _topics(bootstrap: Kafka, topics: list[TopicSpec], stop: Stop) -> list[str] | None:
    """The topics that were created; None when stopping was asked for before Kafka answered."""
    deadline = time.monotonic() + _KAFKA_WITHIN
    while not stop.is_set:
        try:
            return ensure_topics(bootstrap, topics, timeout=_LOOK_AT_STOP)
        except KafkaUnavailable:
            if time.monotonic() >= deadline:
                raise
    return None
