"""What a stream should be doing: `control/<stream>/desired.json`.

Desired state is data, not the life of an Airflow task: pausing a DAG, clearing a task or killing all of
Airflow changes nothing here, and so stops no stream.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from millrace.control.layout import ControlObject, UtcDatetime, desired_key, parse
from millrace.store import NotFound, ObjectStore


class Version(ControlObject):
    """What a stream ran: goes back into force when its successor is refused."""

    config: dict[str, Any]
    code: str | None = None


class DesiredState(ControlObject):
    """Whether a stream should run, and with what."""

    state: Literal["running", "stopped"]
    spec_revision: int = Field(ge=1)
    """Counts the changes of this object; drivers say in their status which one they run."""
    config: dict[str, Any]
    """The catalog's entry of the stream, as JSON (durations as text such as "2h")."""
    who: str
    why: str
    reset_revision: int = 0
    """The revision with which a reset was ordered last, 0 for never. It is done where the next driver begins,
    and once: its outcome stands beside the order (see `millrace.control.orders`)."""
    redeploy_revision: int = 0
    """The revision with which a redeploy was ordered last, 0 for none that waits. It is tried before the next driver
    begins (see `spark_apps/runtime/preflight.py`), and once: its outcome stands beside the order."""
    previous: Version | None = None
    """What ran before that redeploy; None: nothing ever has."""
    code: str | None = None
    """The kept version of the code to run (see `millrace.control.kept_code`); None: the one that is there."""
    at: UtcDatetime
    """By the clock of whoever wrote it; for people. Deadlines count from the object's Last-Modified."""


@dataclass(frozen=True)
class StoredDesired:
    """A desired state with the ETag that a change of it must name."""

    desired: DesiredState
    etag: str
    written_at: datetime
    read_at: datetime
    """Both by the store's clock."""


def read_desired(store: ObjectStore, stream: str) -> DesiredState | None:
    """The desired state, or None when the stream was never deployed.

    Raises ControlObjectError when the object cannot be understood, StoreUnavailable when unanswered.
    """
    stored = load_desired(store, stream)
    return stored.desired if stored else None


def load_desired(store: ObjectStore, stream: str) -> StoredDesired | None:
    """As `read_desired`, with the ETag for a later `write_desired`."""
    key = desired_key(stream)
    try:
        found = store.get(key)
    except NotFound:
        return None
    return StoredDesired(
        parse(DesiredState, found.body, key), found.etag, found.last_modified, found.server_date
    )


def write_desired(store: ObjectStore, stream: str, desired: DesiredState, *, replacing: str | None) -> str:
    """Write the desired state and return its ETag.

    `replacing` is the ETag of the state this one was decided on; None says that there was none. Raises
    PreconditionFailed when somebody else was first: read again and decide again.
    """
    return store.put(desired_key(stream), desired.to_body(), if_match=replacing, if_absent=replacing is None)
