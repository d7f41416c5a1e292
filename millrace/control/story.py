"""What one turn of supervision changed in the history, as lines for the log of the task."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta

from millrace.control.alerts import down_since
from millrace.control.health import in_words
from millrace.control.history import History


@dataclass(frozen=True)
class Message:
    """A line for the log of the task; `level` as in logging."""

    level: int
    text: str


def story(stream: str, before: History, after: History, now: datetime) -> list[Message]:
    """That it recovered, and what became of the circuit. Pure."""
    told = []
    last, new = before.last_health, after.last_health
    if last is not None and not last.healthy and new is not None and new.healthy:
        since = down_since(before) or last.at
        told.append(
            Message(
                logging.INFO,
                f"{stream}: recovered after {in_words(max(now - since, timedelta(0)))}; it was {last.state}: "
                f"{last.reason}",
            )
        )
    if before.circuit is None and after.circuit is not None:
        told.append(
            Message(
                logging.ERROR,
                f"{stream}: the circuit opens: {after.circuit.failures} starts did not last. From now on it is tried "
                "rarely, until it has been healthy for a while or somebody orders start, restart or redeploy",
            )
        )
    if before.circuit is not None and after.circuit is None:
        told.append(Message(logging.INFO, f"{stream}: the circuit is closed again"))
    return told
