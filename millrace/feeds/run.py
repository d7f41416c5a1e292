"""Running a feed: topics first, then its kind, and whatever ends it, everything fetched is delivered."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from importlib import import_module

from millrace.catalog import Catalog, FeedSpec, TopicSpec
from millrace.feeds.context import FeedContext
from millrace.feeds.kinds import KINDS
from millrace.feeds.sink import KafkaSink
from millrace.feeds.stop import Stop
from millrace.feeds.validate import parse_options, validate_feed
from millrace.kafka_topics import ensure_topics
from millrace.settings import Settings

log = logging.getLogger(__name__)

DEAD_LETTERS = "dead_letters"
_KAFKA_WITHIN = 60.0


def run_feed(
    spec: FeedSpec,
    settings: Settings,
    catalog: Catalog,
    *,
    once: bool = False,
    stop: Stop | None = None,
    clock: Callable[[], float] = time.time,
) -> None:
    """Run one feed until it ends or is asked to stop (SIGTERM, SIGINT, or `stop`).

    `once` does what is due now, then ends. `clock` gives epoch seconds. Returns after everything fetched has
    been acknowledged. Raises CatalogError, TopicError, KafkaUnavailable, DeliveryError, and what the kind
    raises; all are errors with a message for a person.
    """
    validate_feed(spec)
    kind = KINDS[spec.kind]
    stop = stop or Stop()
    dead_letters = catalog.topics.get(DEAD_LETTERS) or TopicSpec(name=DEAD_LETTERS)
    topic = catalog.topics.get(spec.topic) or TopicSpec(name=spec.topic)
    # Before the signals are taken over: nothing is fetched yet, so a wait for Kafka may be interrupted.
    created = ensure_topics(settings.kafka, [topic, dead_letters], timeout=_KAFKA_WITHIN)
    if created:
        log.info("created Kafka topic(s) %s at %s", ", ".join(created), settings.kafka)
    sink = KafkaSink(
        settings.kafka,
        feed=spec.name,
        topic=spec.topic,
        dead_letter_topic=dead_letters.name,
        max_dead_letter=dead_letters.max_message_bytes,
        stop=stop,
    )
    with stop.on_signals(), sink:
        context = FeedContext(
            name=spec.name,
            bootstrap=settings.kafka,
            topic=spec.topic,
            directory=settings.home / "feeds" / spec.name,
            sink=sink,
            stop=stop,
            once=once,
            clock=clock,
        )
        import_module(kind.module).run(context, parse_options(spec, kind.options))
    log.info("%s: ended; everything that was fetched is in Kafka", spec.name)
