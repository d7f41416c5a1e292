"""How a driver's JVM is started."""

from __future__ import annotations

from pathlib import Path

from pyspark.sql import SparkSession

from millrace.local.class_archive import archive_file
from tests.families import family, jvms


def test_its_classes_come_from_the_archive_that_the_installation_made(spark: SparkSession) -> None:
    archive = archive_file()
    assert archive.exists(), "make install makes it"
    jvm = spark.sparkContext._gateway.proc
    mapped = "".join(Path(f"/proc/{one.pid}/maps").read_text() for one in jvms(family(jvm.pid)))
    assert str(archive) in mapped
