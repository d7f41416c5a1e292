"""What the doctor says of a platform that is well, and of one that only looks so."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from millrace.doctor.finding import Finding
from tests.e2e.conftest import Platform

pytestmark = pytest.mark.stack


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
