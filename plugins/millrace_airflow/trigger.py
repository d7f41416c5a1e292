"""Waits in the triggerer until a stream needs somebody, or the shift is over."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from millrace.control.attention import what_needs_attention
from millrace.supervision import Rules
from millrace_airflow.shared_watch import Sight, shared_watch

LONGEST_QUIET = 600.0
"""Seconds. What must wait longer is told by the decision itself, at each look."""


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
        rules: dict[str, Any] | None = None,
    ) -> None:
        """Times are ISO 8601 with zone. `seen_revision`: see `what_needs_attention`.
        Before `quiet_until` only a change of the desired state and the end of the shift fire. `rules`: how the
        catalog wants the stream supervised."""
        super().__init__()
        self.stream = stream
        self.shift_ends_at = shift_ends_at
        self.seen_revision = seen_revision
        self.quiet_until = quiet_until
        self.rules = rules

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "stream": self.stream,
                "shift_ends_at": self.shift_ends_at,
                "seen_revision": self.seen_revision,
                "quiet_until": self.quiet_until,
                "rules": self.rules,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        ends_at = datetime.fromisoformat(self.shift_ends_at)
        quiet_ends = time.monotonic() + self._quiet_seconds(datetime.now(UTC))
        rules = Rules.model_validate(self.rules or {})
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
                if reason := self._attention(sight, rules, quiet=time.monotonic() < quiet_ends):
                    yield _event("attention", reason, largest_lag)
                    return
        finally:
            watch.leave(self.stream)

    def _quiet_seconds(self, now: datetime) -> float:
        """Bounded, since a clock that was set back would make the quiet last as long as the step."""
        if self.quiet_until is None:
            return 0.0
        left = datetime.fromisoformat(self.quiet_until) - now
        return min(max(left.total_seconds(), 0.0), LONGEST_QUIET)

    def _attention(self, sight: Sight, rules: Rules, *, quiet: bool) -> str | None:
        # While nothing can be read nothing can be decided, and a task that tried could only wait as well.
        if sight.problem:
            return None
        view = replace(sight.view, rules=rules) if sight.view else None
        return what_needs_attention(view, self.seen_revision, quiet=quiet)

    def _tell(self, problem: str | None) -> None:
        if problem:
            self.log.warning("%s: %s; watching goes on", self.stream, problem)
        else:
            self.log.info("%s: the control objects can be read again", self.stream)


def _event(kind: str, reason: str, largest_lag: int) -> TriggerEvent:
    return TriggerEvent({"kind": kind, "reason": reason, "largest_lag": largest_lag})
