"""The station transform on executors: in batch, and as micro-batches with several buckets."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from pyspark.sql import DataFrame, SparkSession

from millrace.catalog import StreamSpec, load_catalog
from millrace.publish.compact import compact_hours
from millrace.publish.due import due_hours
from millrace.publish.generations import create_generation
from millrace.settings import PROJECT_ROOT, Settings
from millrace.store import open_store
from spark_apps.runtime.batch_commit import next_commit
from spark_apps.runtime.carried_state import CarriedState
from spark_apps.runtime.errors import BadConfiguration
from spark_apps.runtime.micro_batch import BatchTask, BucketSummary, run_micro_batch
from spark_apps.transforms.station_fold import StationFold, movements
from spark_apps.transforms.stations import StationRules
from tests.integration.streams import poll, rows_in
from tests.integration.test_station_stream import city, interleaved, key_of, row_of
from tests.oracles import stations as oracle

pytestmark = pytest.mark.stack
RULES = StationRules()
SCHEMA = "key binary, value binary, partition int, offset bigint, timestamp timestamp"
ARRIVED = datetime(2026, 1, 1, tzinfo=UTC)
DATASET = load_catalog(PROJECT_ROOT / "catalog").datasets["hourly_summary"]


def records(spark: SparkSession, messages: list[oracle.Message], first: int = 0) -> DataFrame:
    rows = []
    for offset, message in enumerate(messages, start=first):
        key, value = poll(message.system_id, message.observed_at, message.stations)
        rows.append((bytearray(key), bytearray(value), 0, offset, ARRIVED))
    return spark.createDataFrame(rows, SCHEMA)


def test_in_batch_it_equals_the_oracle(spark: SparkSession) -> None:
    messages = interleaved(city("north", 1, 80), city("south", 2, 80))
    found = pl.DataFrame(pl.from_arrow(movements(records(spark, messages).repartition(3), RULES).toArrow()))
    rows = {
        (row["system_id"], row["station_id"], int(row["window_start"].timestamp()) // 3600): (
            row["total_rental"], row["total_return"], row["observations"], row["gaps"],
            int(row["last_observed_at"].timestamp()), row["bikes_at_end"],
        )
        for row in found.iter_rows(named=True)
    }  # fmt: skip
    assert rows == oracle.movements(messages, late_by=RULES.late_by, max_gap=RULES.max_gap).rows


def test_in_micro_batches_over_several_buckets_it_equals_the_oracle(
    spark: SparkSession, spark_settings: Settings
) -> None:
    store = open_store(spark_settings)
    spec = StreamSpec(name="bucketed", app="x", source="kafka://polls", dataset=DATASET.name, buckets=3)
    generation = create_generation(store, DATASET.name, parent=None, first_complete_hour=None).generation
    state = CarriedState(store, spec.name, generation)
    systems = [city(name, seed, 40) for seed, name in enumerate(["a", "b", "c", "d", "e"])]
    messages = interleaved(*systems)
    before = None
    used: set[int] = set()
    for batch, start in enumerate(range(0, len(messages), 60)):
        task = BatchTask(
            fold=StationFold(RULES), stream=spec.name, topic=spec.topic, dataset=DATASET, generation=generation,
            batch=batch, buckets=spec.buckets, packs=before.packs if before else {},
        )  # fmt: skip
        some = records(spark, messages[start : start + 60], first=start)
        summaries = run_micro_batch(some, task)
        assert contents(run_micro_batch(some, task)) == contents(summaries), "a retry repeats what it wrote"
        used |= {summary.bucket for summary in summaries}
        before = next_commit(spec, generation, batch, before, summaries).manifest
        state.commit(before)
    assert len(used) > 1
    assert before is not None
    assert before.offsets == {"0": len(messages)}
    compact_hours(store, DATASET, due_hours(store, DATASET, datetime.now(UTC)))
    rows, _ = rows_in(store, DATASET)
    assert {key_of(row): row_of(row) for row in rows} == oracle.movements(
        messages, late_by=RULES.late_by, max_gap=RULES.max_gap
    ).rows


def contents(summaries: list[BucketSummary]) -> list[dict[str, object]]:
    """What summaries say, without how long it took."""
    return [{**vars(summary), "seconds": None} for summary in summaries]


def test_records_that_the_state_already_holds_are_refused(
    spark: SparkSession, spark_settings: Settings
) -> None:
    spec = StreamSpec(name="repeated", app="x", source="kafka://polls", dataset=DATASET.name)
    task = BatchTask(
        fold=StationFold(RULES), stream=spec.name, topic=spec.topic, dataset=DATASET, generation=1, batch=0,
        buckets=1, packs={},
    )  # fmt: skip
    summaries = run_micro_batch(records(spark, city("north", 1, 5)), task)
    manifest = next_commit(spec, 1, 0, None, summaries).manifest
    with pytest.raises(BadConfiguration, match="do not belong together"):
        next_commit(spec, 1, 1, manifest, summaries)


def test_the_log_configuration_is_shipped(spark: SparkSession) -> None:
    assert "log4j2.properties" in spark.conf.get("spark.driver.extraJavaOptions")
    assert Path(spark.conf.get("spark.local.dir")).is_dir()
