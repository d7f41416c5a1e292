"""Everything the store knows about one stream, read at one time."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from millrace.control.decide import Observed
from millrace.control.desired import DesiredState, load_desired
from millrace.control.epochs import newest_epoch
from millrace.control.health import Health, Thresholds, assess
from millrace.control.history import History, load_history
from millrace.control.preflight import PreflightObservation, observe_preflight
from millrace.control.process import ProcessInfo
from millrace.control.status import StatusObservation, observe_newest
from millrace.control.supervised import spec_of, thresholds_for
from millrace.store import ObjectStore
from millrace.supervision import Rules


@dataclass(frozen=True)
class StreamView:
    """Desired and observed state of a stream, and what supervision has done lately."""

    stream: str
    now: datetime
    """By the store's clock (aware UTC)."""
    desired: DesiredState | None = None
    desired_at: datetime | None = None
    """When the desired state was written, by the store's clock."""
    history: History = field(default_factory=History)
    history_etag: str | None = None
    status: StatusObservation | None = None
    newest_epoch: int = 0
    preflight: PreflightObservation | None = None
    rules: Rules = field(default_factory=Rules)
    """How the catalog wants it supervised; what it leaves out follows from what is deployed."""

    @property
    def thresholds(self) -> Thresholds:
        return thresholds_of(self.desired, self.rules)

    @property
    def health(self) -> Health:
        gone = self.desired is not None and self.history.is_gone(self.desired)
        return assess(self.desired, self.status, self.now, self.thresholds, self.preflight, gone=gone)

    def observed(self, process: ProcessInfo | None = None, host_problem: str | None = None) -> Observed:
        """What there is to decide on, with the host's word if that was asked for."""
        return Observed(
            self.status, self.newest_epoch, self.desired_at, process, host_problem, self.preflight
        )


def read_view(store: ObjectStore, stream: str, now: datetime, rules: Rules) -> StreamView:
    """Read a stream's control objects; `now` stands in for the store's clock when nothing is there. `rules`: the
    catalog's, without which its health would be judged by other thresholds than supervision has.

    Raises ControlObjectError for an object that cannot be understood, StoreUnavailable when unanswered.
    """
    return read_view_to_change(store, stream, now, rules)[0]


def read_view_to_change(
    store: ObjectStore, stream: str, now: datetime, rules: Rules
) -> tuple[StreamView, str | None]:
    """As `read_view`, with the ETag of the desired state (None: there is none) for a `write_desired`."""
    desired = load_desired(store, stream)
    history = load_history(store, stream)
    status = observe_newest(store, stream)
    if desired is not None:
        now = desired.read_at
    if status is not None:
        now = status.read_at
    view = StreamView(
        stream=stream,
        now=now,
        desired=desired.desired if desired else None,
        desired_at=desired.written_at if desired else None,
        history=history.history,
        history_etag=history.etag,
        status=status,
        newest_epoch=newest_epoch(store, stream, known=status.status.driver_epoch if status else 0),
        preflight=observe_preflight(store, stream),
        rules=rules,
    )
    return view, desired.etag if desired else None


def thresholds_of(desired: DesiredState | None, rules: Rules | None = None) -> Thresholds:
    """The thresholds of the deployed configuration; the general ones when it cannot be understood."""
    if desired is None:
        return Thresholds()
    try:
        return thresholds_for(spec_of(desired.config), rules)
    except ValueError:
        return Thresholds()
