"""The sources besides Kafka in a real Spark stream: order and numbers of records."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from pyspark.sql import DataFrame, SparkSession

from millrace.catalog import StreamSpec
from spark_apps.runtime.keyed_fold import RECORDS
from spark_apps.runtime.records import ordered_records
from spark_apps.runtime.socket_source import SocketSource
from spark_apps.runtime.sources import FilesSource, RateSource, StreamSource
from spark_apps.testing import queued, results
from tests.conftest import wait_until
from tests.integration.line_server import LineServer

pytestmark = pytest.mark.stack


def spec(source: str) -> StreamSpec:
    return StreamSpec(name="s", app="s", source=source, sinks=("console",))


class Reading:
    """A query over a source; its records as a fold would get them, batch by batch."""

    def __init__(self, spark: SparkSession, source: StreamSource, checkpoint: Path) -> None:
        self.source, self.batches = source, list[pl.DataFrame]()
        frame = source.read(spark, None)
        self.query = (
            frame.writeStream.option("checkpointLocation", f"file://{checkpoint}")
            .foreachBatch(self._take)
            .start()
        )

    def _take(self, records: DataFrame, batch: int) -> None:
        table = self.source.batch(records).select(*RECORDS).coalesce(1).toArrow()
        self.batches.append(ordered_records(table, self.source.order, self.read))

    @property
    def read(self) -> int:
        return sum(batch.height for batch in self.batches)

    def values(self) -> list[bytes]:
        return [value for batch in self.batches for value in batch["value"]]

    def numbers(self) -> list[int]:
        return [number for batch in self.batches for number in batch["offset"]]


def test_files_are_read_whole_and_in_order_of_their_times(spark: SparkSession, tmp_path: Path) -> None:
    directory = tmp_path / "in"
    directory.mkdir()
    lines = {
        "b": [f"first {number} {'x' * (number % 90)}".encode() for number in range(3000)],
        "a": [b"second", b"", b"\xff\xfe not text"],
        "c": ["세 번째".encode()],
    }
    for age, (name, content) in enumerate(lines.items()):
        (directory / name).write_bytes(b"".join(line + b"\n" for line in content))
        # The newest comes into the directory last, but all are dated years ago, and a year apart.
        os.utime(directory / name, (1_500_000_000 + age * 31_536_000,) * 2)
    (directory / "_being_written").write_bytes(b"not yet\n")
    spark.conf.set("spark.sql.files.maxPartitionBytes", "4096")
    try:
        reading = Reading(spark, FilesSource(spec(f"files://{directory}")), tmp_path / "checkpoint")
        wait_until(lambda: reading.read == 3004 or not reading.query.isActive, 60, "the files to be read")
        (directory / "old").write_bytes(b"older than all\n")
        os.utime(directory / "old", (1_000_000_000,) * 2)
        wait_until(lambda: reading.read == 3005 or not reading.query.isActive, 60, "a file with an old date")
        reading.query.stop()
    finally:
        spark.conf.unset("spark.sql.files.maxPartitionBytes")
    assert reading.values() == [*lines["b"], *lines["a"], *lines["c"], b"older than all"]
    assert reading.numbers() == list(range(3005))
    assert set(reading.batches[2]["key"]) == {f"file:{directory}/c".encode()}
    assert [batch.height for batch in reading.batches] == [3000, 3, 1, 1]
    assert reading.batches[1]["timestamp"].to_list() == [(1_500_000_000 + 31_536_000) * 1000] * 3


def test_two_files_that_a_crash_put_into_one_batch_stay_apart(tmp_path: Path) -> None:
    early, late = (datetime(2026, 3, 1, hour, tzinfo=UTC) for hour in (1, 2))
    rows = [
        (late, b"a", 0),
        (late, b"b", 0),
        (early, b"z", 0),
        (late, b"a", 1),
        (late, b"b", 1),
        (early, b"z", 1),
    ]
    table = pa.table(
        {
            "timestamp": pa.array([row[0] for row in rows], pa.timestamp("us", tz="UTC")),
            "key": [row[1] for row in rows],
            "offset": [row[2] for row in rows],
            "value": [f"{key.decode()}{line}" for _, key, line in rows],
        }
    )
    records = ordered_records(table, FilesSource.order, 10)
    assert records["value"].to_list() == ["z0", "z1", "a0", "a1", "b0", "b1"]
    assert records["offset"].to_list() == list(range(10, 16))


def test_rates_are_the_same_numbers_every_time(spark: SparkSession, tmp_path: Path) -> None:
    for run in range(2):
        reading = Reading(spark, RateSource(spec("rate://3")), tmp_path / str(run))
        wait_until(lambda r=reading: len(r.batches) >= 2, 60, "two batches")
        reading.query.stop()
        assert reading.values()[:6] == [b"0", b"1", b"2", b"3", b"4", b"5"]
        assert reading.numbers()[:6] == list(range(6))


def test_lines_of_a_socket_keep_their_order_and_its_end_is_seen(spark: SparkSession, tmp_path: Path) -> None:
    lines = [f"줄 {number}".encode() for number in range(501)]
    with LineServer() as server:
        source = SocketSource(spec(f"socket://127.0.0.1:{server.port}"))
        reading = Reading(spark, source, tmp_path / "checkpoint")
        server.accept()
        assert source.closed(spark, begun=False) is None
        server.send(lines[:400])
        wait_until(lambda: reading.read == 400, 60, "400 lines")
        server.send(lines[400:])
        server.hang_up()
        said: list[str | None] = []
        wait_until(
            lambda: said.append(source.closed(spark, begun=True)) or said[-1], 30, "the end", every=0.2
        )
        reading.query.processAllAvailable()
        reading.query.stop()
    assert reading.values() == lines
    assert reading.numbers() == list(range(501))
    assert said[-1] == f"the server at socket://127.0.0.1:{server.port} has closed the connection"


def test_queued_batches_come_one_by_one_each_at_its_time(spark: SparkSession) -> None:
    batches = [["b", "a", "a"], [], ["#", "서울"], ["last"]]
    found = results(queued(spark, batches, every=2), 5)
    assert [[row.value for row in batch] for batch in found] == [*batches, []]
    assert {f"{row.timestamp:%H:%M:%S}" for row in found[2]} == {"12:00:04"}
