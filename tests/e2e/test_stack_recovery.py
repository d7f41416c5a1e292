"""What happens to the stack does not break it: killed feeds, killed servers, whatever a crash leaves.

These tests end and restart the platform, so they come after those that use it.
"""

from __future__ import annotations

import json
import os
import signal

import pytest

from millrace.catalog import load_catalog
from millrace.control.status import newest_status
from millrace.control.supervised import dag_of
from millrace.local.feeds import Feeds
from millrace.settings import PROJECT_ROOT
from tests.conftest import wait_until
from tests.e2e.conftest import Platform, problems

pytestmark = pytest.mark.stack

CATALOG = load_catalog(PROJECT_ROOT / "catalog")


def test_a_killed_feed_comes_back_and_airflow_watches_it(platform: Platform) -> None:
    before = newest_status(platform.store, "feed-city")
    assert before is not None
    os.kill(before.pid, signal.SIGKILL)

    def is_back() -> bool:
        now = newest_status(platform.store, "feed-city")
        return now is not None and now.driver_epoch > before.driver_epoch and now.state == "running"

    wait_until(is_back, 60, "the feed to come back", every=0.5)
    for name in Feeds.of(CATALOG, "city", CATALOG.started("")).wanted:
        dag = platform.api.dag(dag_of(name))
        assert dag is not None
        assert not dag["is_paused"], name
    unused = platform.api.dag("feed__bluesky")
    assert unused is not None
    assert unused["is_paused"]
    assert "feed epoch 2" in platform.millrace("logs", "feed").stdout


def test_a_killed_program_comes_back(platform: Platform) -> None:
    before = platform.supervisor.state("s3").pid
    assert before is not None
    os.kill(before, signal.SIGKILL)
    wait_until(
        lambda: platform.supervisor.state("s3").pid not in (before, None), 30, "the S3 server to come back"
    )
    answer = platform.millrace("up")  # it runs, and does not answer yet
    assert answer.returncode == 0, answer.stdout


def test_up_recovers_from_whatever_a_crash_left(platform: Platform) -> None:
    """The supervisor and both servers are killed; sockets, pid files and locks stay as they were, and so do
    the orphans: Airflow, the stream host with its driver, the feed."""
    supervisor = platform.supervisor.pid()
    assert supervisor is not None
    hours = _published(platform)
    states = {state.name: state.pid for state in platform.supervisor.states()}
    orphans = platform.supervisor.processes()
    for pid in (supervisor, states["kafka"], states["s3"]):
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: platform.supervisor.pid() is None, 10, "the supervisor to be gone")
    assert (platform.home / "run" / "stack.sock").exists()
    assert "is down, but " in platform.millrace("status").stdout

    answer = platform.millrace("up")

    assert answer.returncode == 0, answer.stdout
    assert "Ending what an earlier run left behind" in answer.stdout
    assert [process for process in orphans if process.is_running()] == []
    assert problems(json.loads(platform.millrace("status", "--json").stdout)) == []
    assert hours <= _published(platform)


def _published(platform: Platform) -> set[str]:
    return {found.key for found in platform.store.list_objects("hourly_summary/")}
