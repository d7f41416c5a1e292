"""What `millrace up` waits for after everything runs: a driver that Airflow deployed, and published hours."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from millrace.control.supervised import feed_name
from millrace.local.errors import StackError
from millrace.local.feeds import trouble
from millrace.local.programs import AIRFLOW_PROGRAMS
from millrace.store import StoreError

if TYPE_CHECKING:
    from millrace.control.status import DriverStatus, Offsets
    from millrace.local.stack import Stack

COMPACTION = "compact_hourly"
LOOK_AT_FEEDS = 2.0
"""Seconds between looks at whether the feeds live."""


def stopped_on_purpose(stack: Stack, stream: str, begun: datetime) -> str | None:
    """Why no driver is to be expected: the stream was stopped, or its DAG or the compaction's is paused."""
    from millrace.control.desired import read_desired

    for dag in (f"stream__{stream}", COMPACTION):
        if wait_for_dag(stack, dag, begun)["is_paused"]:
            return (
                f"the DAG {dag} is paused, so nothing is waited for: {stack.settings.airflow_url}/dags/{dag}"
            )
    desired = read_desired(stack.store, stream)
    if desired is not None and desired.state == "stopped":
        return f"{stream} stays stopped, as {desired.who} wanted ({desired.why})"
    return None


def wait_for_dag(stack: Stack, dag: str, begun: datetime) -> dict[str, Any]:
    """What Airflow knows of a DAG, once it has read it. Raises StackError when it cannot."""
    api = stack.api
    stack.wait_for(
        lambda: api.dag(dag) is not None or _cannot_be_read(stack, begun),
        "airflow-dag-processor",
        180,
        what=f"Airflow to read the DAG {dag}",
    )
    return api.dag(dag) or {}


def _cannot_be_read(stack: Stack, begun: datetime) -> bool:
    """Raises StackError naming the first DAG file that Airflow cannot import."""
    if errors := stack.api.import_errors(begun):
        raise StackError(f"Airflow cannot read a DAG: {errors[0]}")
    return False


def wait_for_driver(stack: Stack, stream: str, begun: datetime) -> DriverStatus:
    """Until Airflow has deployed the stream and its driver has written facts; `begun`: when `up` began, UTC.

    A driver of a stack that was up before may have nothing new to count: that it runs is enough then.
    """
    from millrace.local.stack import TimedOut

    published_before = published_hours(stack, stream, 1) > 0

    counts = stack.catalog.streams[stream].dataset is not None

    looked = 0.0

    def counts_something() -> bool:
        nonlocal looked
        if time.monotonic() - looked > LOOK_AT_FEEDS:
            looked = time.monotonic()
            _see_that_feeds_live(stack, begun)
        status = _newest(stack, stream, begun)
        if status is None or status.ended:
            return False
        if published_before or not counts:
            return status.state == "running"
        return status.facts > 0

    def runs() -> bool:
        status = _newest(stack, stream, begun)
        return status is not None and status.state == "running"

    page = f"{stack.settings.airflow_url}/dags/stream__{stream}"
    try:
        stack.wait_for(
            counts_something,
            "streamhost",
            180,
            watched=("streamhost", *AIRFLOW_PROGRAMS),
            what=f"Airflow to deploy {stream} (it is {page})",
            progress=runs,
        )
    except TimedOut:
        status = _newest(stack, stream, begun)
        if status is None:
            raise
        why = f": {status.error}" if status.error else ""
        feed = stack.catalog.streams[stream].feed
        source = feed_name(feed) if feed else stack.feeds.chosen
        culprit = source if status.state == "running" else stream
        raise StackError(
            f"{stream} is {status.state}{why}, and has counted nothing in {status.records} messages"
            f"{stack.last_words(culprit)}"
        ) from None
    status = _newest(stack, stream, begun)
    assert status is not None
    return status


def _see_that_feeds_live(stack: Stack, begun: datetime) -> None:
    """Raises StackError naming the first wanted feed that has ended for good."""
    try:
        problem = trouble(stack.store, stack.feeds, begun)
    except StoreError:
        return
    if problem is not None:
        raise StackError(f"a feed does not run: {problem}")


def wait_until_caught_up(stack: Stack, streams: Sequence[str], begun: datetime, patience: float) -> bool:
    """Until the drivers have read what there is now, or `patience` seconds are over; whether they have.

    A feed that never stops always leaves a little to read, so what counts is what waited at the beginning.
    """
    from millrace.local.stack import TimedOut

    goals: dict[str, int] = {}

    def reached(stream: str) -> bool:
        status = _newest(stack, stream, begun)
        if status is None or not any(status.end_offsets.values()):
            return False
        goal = goals.setdefault(stream, total_offset(status.end_offsets))
        return total_offset(status.offsets) >= goal

    try:
        stack.wait_for(lambda: all(reached(stream) for stream in streams), "streamhost", patience)
    except TimedOut:
        return False
    return True


def total_offset(offsets: Offsets) -> int:
    """The sum over topics and partitions: it grows with every record, whichever it is in."""
    return sum(offset for partitions in offsets.values() for offset in partitions.values())


def publish(stack: Stack, streams: Sequence[str], *, whole_run: bool) -> dict[str, int]:
    """Run the compaction once; by stream, how many hours are published when each has one, or when the run ends.

    A run that finds no hour due ends without one: an hour of a live feed is due 5 min after its end.
    """
    api = stack.api
    run = api.trigger(COMPACTION)
    page = f"{stack.settings.airflow_url}/dags/{COMPACTION}/runs/{run}"

    def done() -> bool:
        if not whole_run and all(published_hours(stack, stream, 1) for stream in streams):
            return True
        state = api.run_state(COMPACTION, run)
        if state == "failed":
            raise StackError(f"the first run of {COMPACTION} failed: see {page}")
        return state == "success"

    def hours() -> dict[str, int]:
        return {stream: published_hours(stack, stream) for stream in streams}

    # A run waits for the one before it, so what happens in any of them counts.
    stack.wait_for(
        done,
        "airflow-scheduler",
        120,
        what=f"anything to happen in the runs of {COMPACTION} (the last is {page})",
        progress=lambda: (api.task_states(COMPACTION), hours()),
    )
    return hours()


def published_hours(stack: Stack, stream: str, limit: int | None = None) -> int:
    """How many published objects the stream's dataset has; counting stops at `limit`."""
    if stack.catalog.streams[stream].dataset is None:
        return 0
    prefix = stack.catalog.dataset_of(stream).prefix
    try:
        return sum(1 for _ in itertools.islice(stack.store.list_objects(f"{prefix}/"), limit))
    except StoreError:
        return 0


def _newest(stack: Stack, stream: str, begun: datetime) -> DriverStatus | None:
    """The driver's last word, if it is from after `begun`."""
    from millrace.control.status import newest_status

    try:
        status = newest_status(stack.store, stream)
    except StoreError:
        return None
    return status if status is not None and status.heartbeat_at >= begun else None
