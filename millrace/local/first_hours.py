"""What `millrace up` waits for after everything runs: a driver that Airflow deployed, and published hours."""

from __future__ import annotations

import itertools
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


def stopped_on_purpose(stack: Stack, begun: datetime) -> str | None:
    """Why no driver is to be expected: the stream was stopped, or its DAG or the compaction's is paused."""
    from millrace.control.desired import read_desired

    api = stack.api
    for dag in (f"stream__{STREAM}", COMPACTION):
        stack.wait_for(
            lambda dag=dag: api.dag(dag) is not None or _cannot_be_read(stack, begun),  # type: ignore[misc]
            "airflow-dag-processor",
            90,
            what=f"Airflow to read the DAG {dag}",
        )
        if (found := api.dag(dag)) and found["is_paused"]:
            return (
                f"the DAG {dag} is paused, so nothing is waited for: {stack.settings.airflow_url}/dags/{dag}"
            )
    desired = read_desired(stack.store, STREAM)
    if desired is not None and desired.state == "stopped":
        return f"{STREAM} stays stopped, as {desired.who} wanted ({desired.why})"
    return None


def _cannot_be_read(stack: Stack, begun: datetime) -> bool:
    """Raises StackError naming the first DAG file that Airflow cannot import."""
    if errors := stack.api.import_errors(begun):
        raise StackError(f"Airflow cannot read a DAG: {errors[0]}")
    return False


def wait_for_driver(stack: Stack, begun: datetime) -> DriverStatus:
    """Until Airflow has deployed the stream and its driver has written facts; `begun`: when `up` began, UTC.

    A driver of a stack that was up before may have nothing new to count: that it runs is enough then.
    """
    from millrace.local.stack import TimedOut

    published_before = published_hours(stack, 1) > 0

    def progress() -> bool:
        status = _newest(stack, begun)
        if status is None or status.ended:
            return False
        return status.facts > 0 or (published_before and status.state == "running")

    page = f"{stack.settings.airflow_url}/dags/stream__{STREAM}"
    try:
        stack.wait_for(
            progress,
            "streamhost",
            180,
            watched=("streamhost", "feed", *AIRFLOW_PROGRAMS),
            what=f"Airflow to deploy {STREAM} (it is {page})",
        )
    except TimedOut:
        status = _newest(stack, begun)
        if status is None:
            raise
        why = f": {status.error}" if status.error else ""
        culprit = "feed" if status.state == "running" else STREAM
        raise StackError(
            f"{STREAM} is {status.state}{why}, and has counted nothing in {status.records} messages"
            f"{stack.last_words(culprit)}"
        ) from None
    status = _newest(stack, begun)
    assert status is not None
    return status


def wait_until_caught_up(stack: Stack, begun: datetime, patience: float) -> bool:
    """Until the driver has read all there is, or `patience` seconds are over; whether it has."""
    from millrace.local.stack import TimedOut

    def nothing_waits() -> bool:
        status = _newest(stack, begun)
        return status is not None and status.lag == 0

    try:
        stack.wait_for(nothing_waits, "streamhost", patience)
    except TimedOut:
        return False
    return True


def publish(stack: Stack, *, whole_run: bool) -> int:
    """Run the compaction once; how many hours are published when the first one is, or when the run ends.

    A run that finds no hour due ends without one: an hour of a live feed is due 5 min after its end.
    """
    api = stack.api
    run = api.trigger(COMPACTION)
    page = f"{stack.settings.airflow_url}/dags/{COMPACTION}/runs/{run}"

    def done() -> bool:
        if not whole_run and published_hours(stack, 1):
            return True
        state = api.run_state(COMPACTION, run)
        if state == "failed":
            raise StackError(f"the first run of {COMPACTION} failed: see {page}")
        return state == "success"

    stack.wait_for(done, "airflow-scheduler", 120, what=f"a run of {COMPACTION} to end (it is {page})")
    return published_hours(stack)


def published_hours(stack: Stack, limit: int | None = None) -> int:
    """How many published objects the stream's dataset has; counting stops at `limit`."""
    catalog = stack.catalog
    prefix = catalog.dataset_of(STREAM).prefix
    try:
        return sum(1 for _ in itertools.islice(stack.store.list_objects(f"{prefix}/"), limit))
    except StoreError:
        return 0


def _newest(stack: Stack, begun: datetime) -> DriverStatus | None:
    """The driver's last word, if it is from after `begun`."""
    from millrace.control.status import newest_status

    try:
        status = newest_status(stack.store, STREAM)
    except StoreError:
        return None
    return status if status is not None and status.heartbeat_at >= begun else None
