"""Preflight on a real Kafka and a real S3 server: what it tries, what it refuses, and that it leaves no trace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl
import pytest

from millrace.catalog import Catalog, StreamSpec
from millrace.settings import Settings
from millrace.store import open_store
from spark_apps.runtime.app import fold_of_app
from spark_apps.runtime.batch_commit import next_commit
from spark_apps.runtime.carried_state import CarriedState, newest_manifest
from spark_apps.runtime.micro_batch import BatchTask, fold_bucket
from spark_apps.runtime.preflight import Incompatible, preflight
from spark_apps.runtime.read_only import ReadOnly
from spark_apps.runtime.topic_range import read_range
from tests.integration.streams import StreamUnderTest, make_stream, poll
from tests.integration.test_station_stream import city, cut_off

pytestmark = pytest.mark.stack
NAME = "station_hourly"


@dataclass
class Committed:
    """A stream that has committed two batches, without a driver."""

    stream: StreamUnderTest
    settings: Settings

    @property
    def spec(self) -> StreamSpec:
        return self.stream.catalog.streams[NAME]

    def batch(self, number: int, first: int, end: int) -> None:
        store = open_store(self.settings)
        state = CarriedState(store, NAME, 1)
        before = state.manifest(number - 1) if number else None
        task = BatchTask(
            fold_of_app(self.spec),
            NAME,
            self.spec.topic,
            self.stream.catalog.datasets["hourly_summary"],
            1,
            number,
            1,
            before.packs if before else {},
        )
        records = read_range(self.settings.kafka, self.spec.topic, {"0": (first, end)})
        assert records["offset"].to_list() == list(range(first, end))
        state.commit(
            next_commit(self.spec, 1, number, before, [fold_bucket(task, 0, records, store)]).manifest
        )

    def preflight(self, catalog: Catalog | None = None, **changes: object) -> str:
        spec = self.spec.model_copy(update=changes)
        store = open_store(self.settings)
        held = {one.key: store.get_body(one.key) for one in store.list_objects("")}
        files = sorted(self.settings.home.rglob("*"))
        try:
            return preflight(spec, catalog or self.stream.catalog, self.settings, ReadOnly(store))
        finally:
            assert {one.key: store.get_body(one.key) for one in store.list_objects("")} == held
            assert sorted(self.settings.home.rglob("*")) == files


@pytest.fixture
def committed(tmp_path: Path, store_settings: Settings, kafka: str) -> Committed:
    stream = make_stream(tmp_path, store_settings, kafka)
    stream.send(poll(m.system_id, m.observed_at, m.stations) for m in city("north", 4, 40))
    found = Committed(stream, replace(store_settings, kafka=kafka))
    found.batch(0, 0, 25)
    found.batch(1, 25, 40)
    return found


def test_the_same_version_counts_the_last_batch_to_the_same_byte(committed: Committed) -> None:
    assert committed.preflight() == (
        f"the state of batch 1 was read, and its 15 records (topic {committed.stream.topic}, partition 0, offsets 25 "
        "to 39) were counted again, with the same state to the byte"
    )
    other = committed.preflight(options={"max_gap": "1min"})
    assert other.endswith("counted again, with another result: it counts differently")


def test_what_the_state_or_the_batch_does_not_fit_is_refused_in_words(
    committed: Committed, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusal(catalog: Catalog | None = None, **changes: object) -> str:
        with pytest.raises(Incompatible) as refused:
            committed.preflight(catalog, **changes)
        return str(refused.value)

    assert "options.max_gap" in refusal(options={"max_gap": "soon"})
    assert refusal(app="no_such_app").startswith(
        "the catalog's entry is refused: catalog/streams.yaml: station_"
    )
    assert refusal(buckets=4).startswith("buckets is 4, but its state is in 1; set it back, or order reset")
    dataset = committed.stream.catalog.datasets["hourly_summary"]
    wider = dataset.model_copy(update={"columns": {**dataset.columns, "ebikes": "int64"}})
    catalog = committed.stream.catalog.model_copy(update={"datasets": {"hourly_summary": wider}})
    words = refusal(catalog)
    assert words.startswith("its facts do not fit the columns of hourly_summary in catalog/datasets.yaml")
    assert "ebikes" in words

    fold = type(fold_of_app(committed.spec))
    with monkeypatch.context() as patch:
        patch.setattr(fold, "unpack", raises(ValueError("schema 2, this version reads up to 1")))
        assert refusal().startswith("its transform cannot read the state of batch 1 (state/station_hourly/")
    with monkeypatch.context() as patch:
        patch.setattr(fold, "fold", raises(KeyError("stations")))
        assert refusal() == (
            "its transform fails on the records of the last batch (partition 0, offsets 25 to 39): KeyError: 'stations'"
        )
    cut_off(committed.stream, before=40)
    committed.stream.send([poll("north", 1, [("a", 1)])])
    cut_off(committed.stream, before=41)
    assert "the next record is offset 40, but Kafka holds only 41 and later" in refusal()


def raises(error: Exception) -> object:
    def method(*arguments: object) -> None:
        raise error

    return method


def test_what_cannot_be_read_again_is_said_and_the_state_is_tried_alone(committed: Committed) -> None:
    def said() -> str:
        return committed.preflight()

    store = open_store(committed.settings)
    last = newest_manifest(store, NAME)
    aside = last.model_copy(
        update={"batch": 2, "totals": {**last.totals, "rejected.poisoned": 1}, "offsets": {"0": 40}}
    )
    CarriedState(store, NAME, 1).commit(aside)
    assert said() == (
        "the state of batch 2 was read; the batch itself was not tried again, because records of it were put aside"
    )
    store.delete("state/station_hourly/g00001/manifest-0000000002.json")
    cut_off(committed.stream, before=30)
    assert said().endswith("because Kafka no longer holds its records (partition 0)")
    store.delete("state/station_hourly/g00001/manifest-0000000000.json")
    assert said().endswith("because the state before batch 1 is no longer kept")


def test_before_anything_was_committed_there_is_nothing_to_try(
    tmp_path: Path, store_settings: Settings, kafka: str
) -> None:
    fresh = Committed(make_stream(tmp_path, store_settings, kafka), replace(store_settings, kafka=kafka))
    assert fresh.preflight() == "nothing has been committed yet, so there was no state to try"


def test_a_range_is_read_in_order_and_whole(committed: Committed) -> None:
    spans: Sequence[tuple[int, int]] = [(0, 40), (7, 8), (39, 40), (5, 5)]
    for first, end in spans:
        found = read_range(committed.settings.kafka, committed.stream.topic, {"0": (first, end)})
        assert found["offset"].to_list() == list(range(first, end))
        assert found.schema["timestamp"] == pl.Int64
