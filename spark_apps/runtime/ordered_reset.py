"""Resetting a stream on the host where its checkpoint is: by hand, or where a driver begins, as was ordered."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from millrace.catalog import CatalogError, StreamSpec
from millrace.control.order import OrderRefused
from millrace.control.orders import Outcome, put_outcome
from millrace.control.shared_socket import clear, shared_socket
from millrace.control.status import DriverStatus, newest_status
from millrace.control.streamhost import stream_dir
from millrace.settings import Settings
from millrace.store import ObjectStore
from spark_apps.runtime.app import fold_of_app
from spark_apps.runtime.errors import BadConfiguration, DriverError
from spark_apps.runtime.kafka_source import TopicOffsets
from spark_apps.runtime.reset import Reset, plan_reset, read_again, reset_stream


def check_reset(store: ObjectStore, settings: Settings, spec: StreamSpec) -> None:
    """Whether a reset could be done now; changes nothing. Raises OrderRefused when it could not."""
    if spec.source.kind != "kafka":
        return
    try:
        with _topic(settings, spec) as topic:
            plan_reset(store, spec, topic, fold_of_app(spec).lookback)
    except (BadConfiguration, CatalogError, ConnectionError) as error:
        raise OrderRefused(f"{error}. The stream goes on as it is") from None


def reset_here(store: ObjectStore, settings: Settings, spec: StreamSpec) -> Reset:
    """Reset the checkpoint on this host.

    Raises BadConfiguration when Kafka no longer holds what it needs, or a driver of the stream is alive,
    CatalogError when it can be done to no such stream, and ConnectionError when Kafka does not answer.
    """
    status = newest_status(store, spec.name)
    if status is not None and not status.ended and _is_alive(status):
        raise BadConfiguration(
            f"the driver of {spec.name} is running (process {status.pid}); stop it first, or order the reset with "
            f"`millrace stream reset {spec.name}`, which stops it"
        )
    if not spec.source.is_replayable:
        raise CatalogError(f"{spec.name} reads {spec.source}, which cannot be read again")
    if spec.driver is not None:
        clear(shared_socket(settings.home, spec.driver), spec.name)
    directory = stream_dir(settings.home, spec.name) / "checkpoint"
    if spec.source.kind != "kafka":
        return read_again(store, spec, directory)
    with _topic(settings, spec) as topic:
        return reset_stream(store, spec, directory, topic, fold_of_app(spec).lookback)


def reset_as_ordered(store: ObjectStore, settings: Settings, spec: StreamSpec, revision: int) -> Outcome:
    """Carry out the order of a reset, and keep how it ended. A refusal is an outcome too.

    Dying between the two resets once more at the next start: one more generation, nothing lost. Raises
    ConnectionError and StoreUnavailable; then the order still stands.
    """
    try:
        outcome = _outcome("done", in_words(spec, reset_here(store, settings, spec)))
    except (DriverError, CatalogError) as error:
        outcome = _outcome("refused", str(error))
    put_outcome(store, spec.name, revision, outcome)
    return outcome


def in_words(spec: StreamSpec, done: Reset) -> str:
    """What a reset did, for a person."""
    hour = done.first_complete_hour
    since = f"from {hour:%Y-%m-%d %H:%M} UTC on" if hour else "from the beginning"
    kept = f"; the old checkpoint is kept at {done.old_checkpoint}" if done.old_checkpoint else ""
    reading = (
        f"from {done.starting_offsets}"
        if done.starting_offsets
        else f"all of {spec.source} that is there now"
    )
    return f"{spec.name}: generation {done.generation} counts {since}, reading {reading}{kept}"


def _outcome(outcome: str, says: str) -> Outcome:
    return Outcome.model_validate({"outcome": outcome, "says": says, "at": datetime.now(UTC)})


def _is_alive(status: DriverStatus) -> bool:
    import psutil

    here = status.host == socket.gethostname()
    return here and status.pid != os.getpid() and psutil.pid_exists(status.pid)


@contextmanager
def _topic(settings: Settings, spec: StreamSpec) -> Iterator[TopicOffsets]:
    from confluent_kafka import KafkaException

    topic = TopicOffsets(settings.kafka_access, spec.topic)
    try:
        yield topic
    except KafkaException as error:
        raise ConnectionError(f"Kafka does not say what it holds of {spec.topic}: {error}") from error
    finally:
        topic.close()
