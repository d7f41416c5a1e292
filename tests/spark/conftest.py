"""One small Spark session for all tests here; its workers find the test's object store."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from millrace.catalog import StreamSpec
from millrace.settings import Settings
from spark_apps.runtime.session import start_session


@pytest.fixture(scope="session")
def spark_settings(s3_settings: Settings) -> Settings:
    return replace(s3_settings, prefix="spark-tests")


@pytest.fixture(scope="session")
def spark(spark_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    spec = StreamSpec(name="tests", app="tests", source="kafka://tests", dataset="tests", buckets=3)
    kept = dict(os.environ)
    os.environ |= {
        "MILLRACE_S3_ENDPOINT": spark_settings.s3_endpoint or "",
        "MILLRACE_BUCKET": spark_settings.bucket,
        "MILLRACE_PREFIX": spark_settings.prefix,
        "AWS_ACCESS_KEY_ID": spark_settings.access_key or "",
        "AWS_SECRET_ACCESS_KEY": spark_settings.secret_key or "",
    }
    session = start_session(spec, Path(tmp_path_factory.mktemp("spark")))
    yield session
    session.stop()
    os.environ.clear()
    os.environ |= kept
