"""What a task tells the driver when the store is away: an answer of its own, not a batch that failed."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pyarrow as pa
import pytest

from millrace.catalog import load_catalog
from millrace.settings import PROJECT_ROOT
from millrace.store import MemoryStore, StoreUnavailable
from spark_apps.runtime import micro_batch
from spark_apps.runtime.micro_batch import BatchTask, _run_task, _summaries
from spark_apps.transforms.station_fold import StationFold
from spark_apps.transforms.stations import StationRules

DATASET = load_catalog(PROJECT_ROOT / "catalog").datasets["hourly_summary"]
TASK = BatchTask(
    fold=StationFold(StationRules()),
    stream="s",
    topic="t",
    dataset=DATASET,
    generation=1,
    batch=0,
    buckets=1,
    packs={},
)


class StoreThatGoesAway(MemoryStore):
    """Answers a few PUTs, then none until it is back."""

    def __init__(self, answers: int) -> None:
        super().__init__()
        self.answers = answers

    def put(self, key: str, body: bytes, *, if_match: str | None = None, if_absent: bool = False) -> str:
        if self.answers <= 0:
            raise StoreUnavailable(f"PUT {key}")
        self.answers -= 1
        return super().put(key, body, if_match=if_match, if_absent=if_absent)


def records() -> pa.RecordBatch:
    envelope = {"schema": 1, "kind": "poll", "system_id": "x", "stations": [{"station_id": "a", "bikes": 3}]}
    values = [json.dumps(envelope | {"observed_at": 1_700_000_000 + n * 3600}).encode() for n in range(3)]
    arrived = pa.array([datetime(2026, 1, 1, tzinfo=UTC)] * 3, pa.timestamp("us", tz="UTC"))
    return pa.RecordBatch.from_pydict(
        {
            "key": [b"x"] * 3,
            "value": values,
            "partition": pa.array([0] * 3, pa.int32()),
            "offset": pa.array([2, 0, 1], pa.int64()),
            "timestamp": arrived,
            "bucket": pa.array([0] * 3, pa.int32()),
        }
    )


def told(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(micro_batch, "_store", lambda: store)
    return [line for batch in _run_task(TASK, [records()]) for line in batch["summary"].to_pylist()]


@pytest.mark.parametrize("answers", [0, 1, 2, 3])
def test_a_store_that_is_away_at_any_put_is_told_as_such_and_a_retry_writes_the_same(
    answers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = StoreThatGoesAway(answers)
    with pytest.raises(StoreUnavailable, match="PUT"):
        _summaries(told(store, monkeypatch))
    store.answers = 100
    (summary,) = _summaries(told(store, monkeypatch))
    whole = MemoryStore()
    _summaries(told(whole, monkeypatch))
    assert store.objects.keys() == whole.objects.keys()
    assert (summary.facts, summary.first_offsets, summary.next_offsets) == (3, {"0": 0}, {"0": 3})


def test_another_error_is_raised_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(MemoryStore):
        def put(self, key: str, body: bytes, *, if_match: str | None = None, if_absent: bool = False) -> str:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        told(Broken(), monkeypatch)
