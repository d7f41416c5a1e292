"""What `millrace up` waits for after everything runs: a driver that Airflow deployed, and published hours."""

from __future__ import annotations

import itertools
import time
from datetime import datetime
from typing import TYPE_CHECKING

from millrace.local.errors import StackError
from millrace.local.programs import AIRFLOW_PROGRAMS
from millrace.store import StoreError

if TYPE_CHECKING:
    from millrace.control.status import DriverStatus
    from millrace.local.stack import Stack

STREAM = "station_hourly"
COMPACTION = "compact_hourly"


def wait_for_driver(stack: Stack, begun: datetime) -> DriverStatus:
    """Until Airflow has deployed the stream and its driver has written facts; `begun`: when `up` began, UTC.

    A driver of a stack that was up before may have nothing new to count: that it runs is enough then.
    """
    from millrace.control.status import newest_status

    api, store = stack.api, stack.store
    published_before = published_hours(stack, 1) > 0
    found: list[DriverStatus] = []
    looked = time.monotonic()

    def progress() -> bool:
        nonlocal looked
        if time.monotonic() - looked > 15:
            looked = time.monotonic()
            if errors := api.import_errors():
                raise StackError(f"Airflow cannot read a DAG: {errors[0]}")
        try:
            status = newest_status(store, STREAM)
        except StoreError:
            return False
        if status is None or status.heartbeat_at < begun or status.ended:
            return False
        found[:] = [status]
        return status.facts > 0 or (published_before and status.state == "running")

    stack.wait_for(
        progress,
        "streamhost",
        180,
        watched=("streamhost", "feed", *AIRFLOW_PROGRAMS),
        what=f"Airflow to deploy {STREAM} (look at {stack.settings.airflow_url}/dags/stream__{STREAM})",
    )
    return found[0]


def publish_first_hours(stack: Stack) -> int:
    """Run the compaction once and wait for published hours; how many there are at that moment."""
    api = stack.api
    stack.wait_for(
        lambda: api.has_dag(COMPACTION), "airflow-dag-processor", 60, what=f"Airflow to read {COMPACTION}"
    )
    run = api.trigger(COMPACTION)
    page = f"{stack.settings.airflow_url}/dags/{COMPACTION}/runs/{run}"
    hours = 0

    def published() -> bool:
        nonlocal hours
        hours = published_hours(stack)
        if not hours and api.run_state(COMPACTION, run) == "failed":
            raise StackError(f"the first run of {COMPACTION} failed: see {page}")
        return hours > 0

    stack.wait_for(published, "airflow-scheduler", 120, what=f"the first published hours (look at {page})")
    return hours


def published_hours(stack: Stack, limit: int | None = None) -> int:
    """How many published objects the stream's dataset has; counting stops at `limit`."""
    catalog = stack.catalog()
    prefix = catalog.datasets[catalog.streams[STREAM].dataset].prefix
    try:
        return sum(1 for _ in itertools.islice(stack.store.list_objects(f"{prefix}/"), limit))
    except StoreError:
        return 0
