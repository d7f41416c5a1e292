"""The heartbeat while other parts are away, and what it hears."""

from __future__ import annotations

import os
from datetime import timedelta

import pytest

from millrace.catalog import StreamSpec
from millrace.control.desired import DesiredState, write_desired
from millrace.control.epochs import claim_epoch
from millrace.control.status import DriverStatus, newest_status
from millrace.store import MemoryStore, StoreUnavailable
from spark_apps.runtime.progress import Progress
from spark_apps.runtime.reporter import Reporter
from tests.conftest import wait_until

SPEC = StreamSpec(name="s", app="s", source="kafka://t", dataset="d", heartbeat=timedelta(milliseconds=20))


class Topic:
    """A broker that answers, or does not."""

    def __init__(self) -> None:
        self.away = False

    def end_offsets(self) -> dict[str, int]:
        if self.away:
            raise ConnectionError("Kafka does not say what waits")
        return {"0": 7}


class Heard:
    def __init__(self) -> None:
        self.stops: list[str] = []
        self.fences: list[int] = []


def start(store: MemoryStore, topic: Topic) -> tuple[Reporter, Heard]:
    heard = Heard()
    reporter = Reporter(
        store,
        SPEC,
        driver_epoch=claim_epoch(store, "s", spec_revision=1),
        spec_revision=1,
        progress=Progress(),
        pid=os.getpid(),
        on_stop=heard.stops.append,
        on_fenced=heard.fences.append,
    )
    reporter.watch(topic, 1)  # type: ignore[arg-type]
    reporter.start()
    reporter.now("running")
    return reporter, heard


def last(store: MemoryStore) -> DriverStatus:
    status = newest_status(store, "s")
    assert status is not None
    return status


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def test_a_driver_is_not_silent_because_kafka_is(store: MemoryStore) -> None:
    topic = Topic()
    reporter, _ = start(store, topic)
    wait_until(lambda: newest_status(store, "s") and last(store).lag == 7, 5, "the first heartbeat")
    topic.away = True
    wait_until(lambda: last(store).lag is None, 5, "a heartbeat without Kafka")
    before = last(store).heartbeat_at
    wait_until(lambda: last(store).heartbeat_at > before, 5, "another one")
    topic.away = False
    wait_until(lambda: last(store).lag == 7, 5, "Kafka's word again")
    reporter.end("stopped", 0, None)
    assert (last(store).state, last(store).exit_code) == ("stopped", 0)


def test_a_query_that_emits_nothing_is_seen_to_stand_still_by_what_waits_in_kafka(store: MemoryStore) -> None:
    reporter, _ = start(store, Topic())
    reporter.show_ui("http://127.0.0.1:4040")
    wait_until(
        lambda: newest_status(store, "s") and (last(store).still_seconds or 0) >= 0.2, 5, "it to stand still"
    )
    assert (last(store).lag, last(store).lag_lows, last(store).batches) == (7, (7,), 0)
    assert last(store).spark_ui == "http://127.0.0.1:4040"
    reporter.end("stopped", 0, None)


def test_it_hears_of_a_newer_driver_and_of_a_stop(store: MemoryStore) -> None:
    reporter, heard = start(store, Topic())
    newer = claim_epoch(store, "s", spec_revision=1)
    wait_until(lambda: newer in heard.fences, 5, "the newer epoch to be seen")
    now = last(store).heartbeat_at
    stopped = DesiredState(state="stopped", spec_revision=2, config={}, who="anna", why="planned", at=now)
    write_desired(store, "s", stopped, replacing=None)
    wait_until(lambda: heard.stops, 5, "the stop to be seen")
    assert heard.stops[0] == "asked to stop by anna: planned"
    reporter.end("fenced", 10, "another has taken over")


def test_a_heartbeat_goes_on_after_the_store_was_away(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    reporter, _ = start(store, Topic())
    wait_until(lambda: newest_status(store, "s") is not None, 5, "the first heartbeat")

    def away(*_: object, **__: object) -> str:
        raise StoreUnavailable("away")

    with monkeypatch.context() as patch:
        asked = []
        patch.setattr(store, "put", lambda *a, **k: asked.append(1) or away())
        wait_until(lambda: len(asked) > 2, 5, "heartbeats that fail")
    before = last(store).heartbeat_at
    wait_until(lambda: last(store).heartbeat_at > before, 5, "a heartbeat that arrives")
    reporter.end("stopped", 0, None)
