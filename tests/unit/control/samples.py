"""Control objects with plain values, for tests to change one thing of."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from millrace.catalog import StreamSpec
from millrace.control.desired import DesiredState
from millrace.control.preflight import Preflight, PreflightObservation
from millrace.control.process import ProcessInfo, ProcessState
from millrace.control.status import DriverStatus, StatusObservation

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SPEC = StreamSpec(
    name="bikes", app="station_hourly", source="kafka://station_polls", dataset="hourly_summary"
)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def desired(state: str = "running", at: datetime | None = None, **changes: Any) -> DesiredState:
    fields = {
        "state": state,
        "spec_revision": 1,
        "config": SPEC.model_dump(mode="json"),
        "who": "ada",
        "why": "a test",
        "at": at or ago(86400),
    }
    return DesiredState.model_validate(fields | changes)


def status(state: str = "running", age: float = 2, epoch: int = 3, **changes: Any) -> StatusObservation:
    """A status written `age` seconds ago by the store's clock, of a driver that started an hour before."""
    fields = {
        "stream": "bikes",
        "driver_epoch": epoch,
        "spec_revision": 1,
        "host": "host-1",
        "pid": 4711,
        "state": state,
        "started_at": ago(age + 3600),
        "heartbeat_at": ago(age),
        "lag": 0,
    }
    return StatusObservation(DriverStatus.model_validate(fields | changes), ago(age), NOW)


def preflight(
    state: str = "trying", age: float = 2, pid: int = 5000, for_seconds: float = 200
) -> PreflightObservation:
    """A word of `age` seconds ago of the process that tries the version of revision 2, begun so long before it."""
    said = Preflight(revision=2, host="host-1", pid=pid, state=state, for_seconds=for_seconds)
    return PreflightObservation(said, ago(age))


def process(
    state: ProcessState = ProcessState.RUNNING,
    pid: int | None = 4711,
    for_seconds: float = 3600,
    exit_code: int | None = None,
) -> ProcessInfo:
    running = state in (ProcessState.RUNNING, ProcessState.STARTING, ProcessState.STOPPING)
    return ProcessInfo("bikes", state, pid if running else None, ago(for_seconds), NOW, exit_code)
