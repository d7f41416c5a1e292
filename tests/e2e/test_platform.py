"""The platform under Airflow: the doctor's word on it, and supervision survives what happens to it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import psutil
import pytest

from millrace.catalog import load_catalog
from millrace.control.launcher import StreamHost
from millrace.control.status import DriverStatus, newest_status
from millrace.doctor.finding import Finding
from millrace.settings import PROJECT_ROOT
from tests.conftest import wait_until
from tests.e2e.conftest import Platform

pytestmark = pytest.mark.stack
STREAM = "station_hourly"
AIRFLOW = ("airflow-api-server", "airflow-scheduler", "airflow-dag-processor", "airflow-triggerer")


def driver(platform: Platform) -> DriverStatus | None:
    return newest_status(platform.store, STREAM)


def running_driver(platform: Platform, since: int) -> DriverStatus:
    """The driver of a later epoch than `since`, once it runs and has said so."""
    found: list[DriverStatus] = []

    def runs() -> bool:
        status = driver(platform)
        if status is not None and status.driver_epoch > since and status.state == "running":
            found.append(status)
        return bool(found)

    wait_until(runs, 180, f"a driver after epoch {since} to run", every=0.5)
    return found[-1]


def test_the_doctor_finds_nothing_wrong_and_finds_what_is_made_wrong(platform: Platform) -> None:
    assert "A look at everything" in platform.up_output
    platform.api.pause("quality_daily", paused=True)
    try:
        done = platform.millrace("doctor", "--json")
    finally:
        platform.api.pause("quality_daily", paused=False)
    assert done.returncode == 0, done.stdout
    findings = [Finding(**one) for one in json.loads(done.stdout)]
    said = [one.says for one in findings if one.level == "warning"]
    # The embedded S3 server checks If-Match before it writes: how often that shows is a matter of chance.
    assert [one for one in said if "under a race" not in one] == ["quality_daily is paused: no day is judged"]
    fine = "; ".join(one.says for one in findings if one.level == "fine")
    for part in ("it takes their tokens", "creating under a race: one winner", "pool 'publish' has 1 slot"):
        assert part in fine
    assert fine.count("its clock and the one here agree") == 2, "Kafka's and the store's"


def test_settings_with_which_all_is_healthy_and_no_task_works_are_found(platform: Platform) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "millrace.doctor.airflow_config"],
        env=platform.component() | {"AIRFLOW__API_AUTH__JWT_ISSUER": "another"},
        capture_output=True,
        text=True,
        timeout=90,
    )
    (found,) = (one for one in json.loads(done.stdout) if one["level"] == "error")
    assert "every task would fail" in found["says"]


def test_airflow_killed_as_a_whole_leaves_the_driver_alone_and_supervises_it_again(
    platform: Platform,
) -> None:
    before = driver(platform)
    assert before is not None
    victims = []
    for name in AIRFLOW:
        process = psutil.Process(platform.supervisor.state(name).pid)
        victims += [process, *process.children(recursive=True)]
    for victim in victims:
        victim.kill()
    psutil.wait_procs(victims, timeout=10)

    wait_until(lambda: platform.api.unhealthy() == [], 120, "Airflow to be back", every=1)
    after = driver(platform)
    assert after is not None
    assert (after.driver_epoch, after.pid, after.state) == (before.driver_epoch, before.pid, "running")
    # The host would not start this one again by itself: only supervision does.
    StreamHost.of(platform.settings).stop(
        STREAM, within=load_catalog(PROJECT_ROOT / "catalog").streams[STREAM].stop_within
    )
    assert not psutil.pid_exists(before.pid)
    running_driver(platform, since=before.driver_epoch)


def test_a_killed_driver_is_back_and_loses_nothing(platform: Platform) -> None:
    before = driver(platform)
    assert before is not None
    os.kill(before.pid, signal.SIGKILL)
    after = running_driver(platform, since=before.driver_epoch)
    end = sum(after.end_offsets["station_polls"].values())

    def caught_up() -> bool:
        status = driver(platform)
        return status is not None and sum(status.offsets["station_polls"].values()) >= end

    wait_until(caught_up, 180, "the new driver to have everything", every=0.5)
