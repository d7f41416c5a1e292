"""The sources that a catalog entry can name, all giving the same columns (see keyed_fold.RECORDS).

Kafka has offsets of its own. The records of the others are numbered from 0 by the stream itself, in the order
in which they are read; what waits in them is not known.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from millrace.catalog import StreamSpec
from millrace.kafka_access import Kafka
from millrace.settings import Settings
from spark_apps.runtime.errors import BadConfiguration
from spark_apps.runtime.kafka_source import TopicOffsets, check_still_held, read_topic, starting_offsets
from spark_apps.runtime.numbered_source import NumberedSource, row_in_partition
from spark_apps.runtime.quiet_source import QuietSource
from spark_apps.runtime.records import IN_KAFKA
from spark_apps.runtime.socket_source import SocketSource

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


class StreamSource(Protocol):
    """Where the records of a driver's query come from. `order`: the columns by which they are in order."""

    order: tuple[str, ...]

    def check(self, resumed: Mapping[str, int] | None) -> None:
        """Raises BadConfiguration when the source cannot go on from these offsets."""
        ...

    def end_offsets(self) -> dict[str, int] | None:
        """Partition to the next offset to be written; None when the source has none. May raise ConnectionError."""
        ...

    def read(self, spark: SparkSession, starting: Mapping[str, int] | None) -> DataFrame:
        """A stream of key, value, partition, offset, timestamp; `starting`: from where, None: from the beginning."""
        ...

    def batch(self, records: DataFrame) -> DataFrame:
        """The same of one micro-batch, with offsets by which it can be put in order."""
        ...

    def closed(self, spark: SparkSession, *, begun: bool) -> str | None:
        """Why nothing more will come, in words; None while something may. `begun`: a micro-batch was done."""
        ...

    def refused(self, reason: str) -> str | None:
        """What it means, in words, that the query ended before its first micro-batch; None when nothing special."""
        ...

    @property
    def warning(self) -> str | None:
        """What a person must know before relying on it."""
        ...


def source_of(spec: StreamSpec, settings: Settings) -> StreamSource:
    """The source that the catalog names. Raises BadConfiguration, and ConnectionError when Kafka is away."""
    match spec.source.kind:
        case "kafka":
            return KafkaSource(spec, settings.kafka_access)
        case "socket":
            return SocketSource(spec)
        case "files":
            return FilesSource(spec)
        case "rate":
            return RateSource(spec)


class KafkaSource(QuietSource):
    """A topic. Its number of partitions is asked once: it is fixed."""

    order: tuple[str, ...] = IN_KAFKA

    def __init__(self, spec: StreamSpec, bootstrap: Kafka) -> None:
        self._spec, self._bootstrap = spec, bootstrap
        self._offsets = TopicOffsets(bootstrap, spec.topic)
        self._partitions = self._offsets.partitions()

    def check(self, resumed: Mapping[str, int] | None) -> None:
        if resumed is not None:
            check_still_held(self._spec.topic, resumed, self._offsets.bounds(self._partitions))

    def end_offsets(self) -> dict[str, int] | None:
        from confluent_kafka import KafkaException

        try:
            bounds = self._offsets.bounds(self._partitions)
        except KafkaException as error:
            raise ConnectionError(f"Kafka does not say what waits: {error}") from error
        return {partition: end for partition, (_, end) in bounds.items()}

    def read(self, spark: SparkSession, starting: Mapping[str, int] | None) -> DataFrame:
        start = starting_offsets(self._spec.topic, self._partitions, starting)
        return read_topic(spark, self._spec, self._bootstrap, start)


class FilesSource(NumberedSource):
    """The lines of the files of a directory, a file per micro-batch, oldest first; their time is the file's.

    Their key is the file's address. A file belongs there whole: move it in, do not write it there. Names that begin
    with `_` or `.` are not read.
    """

    # After a crash that hit the moment of planning, Spark puts two files into one micro-batch.
    order: tuple[str, ...] = ("timestamp", "key", "offset")

    @property
    def directory(self) -> Path:
        return Path(self._spec.source.address).expanduser().absolute()

    def check(self, resumed: Mapping[str, int] | None) -> None:  # noqa: ARG002
        if not self.directory.is_dir():
            raise BadConfiguration(
                f"{self._spec.name} reads {self._spec.source}: {self.directory} is not a directory"
            )

    def read(self, spark: SparkSession, starting: Mapping[str, int] | None) -> DataFrame:  # noqa: ARG002
        lines = (
            spark.readStream.format("text")
            .option("maxFilesPerTrigger", 1)
            # Else a file that is a week older than one that was read is passed over without a word.
            .option("maxFileAge", "36500d")
            .load(str(self.directory))
        )
        return lines.selectExpr(
            "CAST(_metadata.file_path AS binary) AS key",
            "CAST(value AS binary) AS value",
            "0 AS partition",
            "_metadata.file_block_start AS offset",
            "_metadata.file_modification_time AS timestamp",
        )

    def batch(self, records: DataFrame) -> DataFrame:
        # A large file comes in blocks, each with the byte at which it begins: more bytes than lines before it.
        return records.withColumn("offset", records["offset"] + row_in_partition())


class RateSource(NumberedSource):
    """So many numbered rows per micro-batch, the same on every run: for trying a transform out."""

    def read(self, spark: SparkSession, starting: Mapping[str, int] | None) -> DataFrame:  # noqa: ARG002
        rows = (
            spark.readStream.format("rate-micro-batch")
            .option("rowsPerBatch", self._spec.source.address)
            .option("numPartitions", 1)
            .load()
        )
        return rows.selectExpr(
            "CAST(NULL AS binary) AS key",
            "CAST(CAST(value AS string) AS binary) AS value",
            "0 AS partition",
            "value AS offset",
            "timestamp",
        )
