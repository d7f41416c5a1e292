"""Waits in the triggerer until a stream needs somebody, or the shift is over."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from millrace.control.attention import what_needs_attention
from millrace_airflow.shared_watch import Sight, shared_watch


class StreamTrigger(BaseTrigger):
    """Fires once: `{"kind": "attention" | "shift_over", "reason": …, "largest_lag": …}`.

    It holds nothing that is not in its arguments or in the store, so a triggerer may die at any moment
    and another goes on. It starts and stops nothing: `on_kill` (a task that is cleared or marked by hand)
    and `cleanup` stay empty on purpose, since a stream lives by its desired state and not by a task.
    """

    def __init__(
        self,
        stream: str,
        shift_ends_at: str,
        seen_revision: int | None = None,
        quiet_until: str | None = None,
    ) -> None:
        """Times are ISO 8601 with zone. `seen_revision`: see `what_needs_attention`.
        Before `quiet_until` only a change of the desired state and the end of the shift fire."""
        super().__init__()
        self.stream = stream
        self.shift_ends_at = shift_ends_at
        self.seen_revision = seen_revision
        self.quiet_until = quiet_until

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "stream": self.stream,
                "shift_ends_at": self.shift_ends_at,
                "seen_revision": self.seen_revision,
                "quiet_until": self.quiet_until,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        ends_at = datetime.fromisoformat(self.shift_ends_at)
        quiet_until = datetime.fromisoformat(self.quiet_until) if self.quiet_until else None
        largest_lag = 0
        seen_round = 0
        problem: str | None = None
        watch = shared_watch()
        watch.enter(self.stream)
        try:
            while True:
                seen_round, sight = await watch.next_sight(self.stream, seen_round)
                if sight.problem != problem:
                    problem = sight.problem
                    self._tell(problem)
                if sight.view and sight.view.status:
                    largest_lag = max(largest_lag, sight.view.status.status.lag or 0)
                now = datetime.now(UTC)
                if now >= ends_at:
                    yield _event("shift_over", "the shift is over", largest_lag)
                    return
                quiet = quiet_until is not None and now < quiet_until
                if reason := self._attention(sight, quiet):
                    yield _event("attention", reason, largest_lag)
                    return
        finally:
            watch.leave(self.stream)

    def _attention(self, sight: Sight, quiet: bool) -> str | None:
        # While nothing can be read nothing can be decided, and a task that tried could only wait as well.
        if sight.problem:
            return None
        return what_needs_attention(sight.view, self.seen_revision, quiet=quiet)

    def _tell(self, problem: str | None) -> None:
        if problem:
            self.log.warning("%s: %s; watching goes on", self.stream, problem)
        else:
            self.log.info("%s: the control objects can be read again", self.stream)


def _event(kind: str, reason: str, largest_lag: int) -> TriggerEvent:
    return TriggerEvent({"kind": kind, "reason": reason, "largest_lag": largest_lag})
