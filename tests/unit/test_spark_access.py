"""Where Spark's tasks run: a setting, a connection of Airflow, or the stream's own word."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from millrace import settings
from millrace.settings import Settings, SettingsError
from millrace.spark_access import LOCAL_MASTER, SparkAccess, place_conf
from spark_apps.runtime.session import batch_conf


def load(tmp_path: Path, connection: object = None, **env: str) -> Settings:
    if connection is not None:
        text = connection if isinstance(connection, str) else json.dumps(connection)
        env |= {"MILLRACE_SPARK_CONNECTION": "spark_default", "AIRFLOW_CONN_SPARK_DEFAULT": text}
    return settings.load({"MILLRACE_HOME": str(tmp_path), **env})


def test_without_a_word_tasks_run_with_their_driver(tmp_path: Path) -> None:
    assert load(tmp_path).spark == SparkAccess("local[2]", None)
    assert place_conf(LOCAL_MASTER, "streamhost") == {
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
    }


@pytest.mark.parametrize(
    "connection",
    [
        {"conn_type": "spark", "host": "spark://spark-master:7077"},
        {"conn_type": "spark", "host": "spark://spark-master", "port": 7077},
    ],
)
def test_the_master_is_that_of_the_connection_that_airflow_submits_to(
    tmp_path: Path, connection: object
) -> None:
    assert load(tmp_path, connection).spark.master == "spark://spark-master:7077"


def test_a_connection_of_this_machine_is_one_too(tmp_path: Path) -> None:
    assert load(tmp_path, {"conn_type": "spark", "host": "local[4]"}).spark.master == "local[4]"


def test_a_master_that_drivers_cannot_use_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        SettingsError, match=r"MILLRACE_SPARK_MASTER='yarn': .* local\[N\] or .* spark://HOST:PORT"
    ):
        load(tmp_path, {"conn_type": "spark", "host": "yarn"})
    with pytest.raises(SettingsError, match="it has no host"):
        load(tmp_path, {"conn_type": "spark"})


def test_on_a_cluster_executors_find_their_driver_and_leave_room_for_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONPATH", "/kept/code")
    conf = place_conf("spark://spark-master:7077", "streamhost")
    assert conf["spark.driver.host"] == "streamhost"
    assert conf["spark.driver.bindAddress"] == "0.0.0.0"
    assert conf["spark.cores.max"] == conf["spark.executor.cores"] == "2"
    assert conf["spark.executorEnv.PYTHONPATH"] == "/kept/code"
    assert "spark.driver.host" not in place_conf("spark://spark-master:7077", None)


def test_a_batch_app_is_told_of_its_place_only_where_executors_are_elsewhere(tmp_path: Path) -> None:
    assert "spark.driver.host" not in batch_conf(tmp_path, SparkAccess())
    conf = batch_conf(tmp_path, SparkAccess("spark://spark-master:7077", "airflow-scheduler"))
    assert conf["spark.driver.host"] == "airflow-scheduler"
