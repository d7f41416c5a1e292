"""Supervision by a real Airflow survives what happens to Airflow."""

from __future__ import annotations

import signal

import psutil
import pytest

from millrace.catalog import load_catalog
from millrace.control.launcher import StreamHost
from millrace.settings import PROJECT_ROOT
from tests.conftest import wait_until
from tests.e2e.conftest import Platform
from tests.families import family, signal_all

pytestmark = pytest.mark.stack
STREAM = "station_hourly"
AIRFLOW = ("airflow-api-server", "airflow-scheduler", "airflow-dag-processor", "airflow-triggerer")


def test_airflow_killed_as_a_whole_leaves_the_driver_alone_and_supervises_it_again(
    platform: Platform,
) -> None:
    before = platform.driver(STREAM)
    assert before is not None
    victims = [one for name in AIRFLOW for one in family(platform.supervisor.state(name).pid)]
    signal_all(victims, signal.SIGKILL)
    psutil.wait_procs(victims, timeout=10)

    wait_until(lambda: platform.api.unhealthy() == [], 120, "Airflow to be back", every=1)
    after = platform.driver(STREAM)
    assert after is not None
    assert (after.driver_epoch, after.pid, after.state) == (before.driver_epoch, before.pid, "running")
    # The host would not start this one again by itself: only supervision does.
    StreamHost.of(platform.settings).stop(
        STREAM, within=load_catalog(PROJECT_ROOT / "catalog").streams[STREAM].stop_within
    )
    assert not psutil.pid_exists(before.pid)
    platform.running_driver(STREAM, since=before.driver_epoch)
