"""`live/<stream>.json`: what a stream shows right now, for a page, a terminal, or a person."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from millrace.control.layout import ControlObject, UtcDatetime, parse
from millrace.store import NotFound, ObjectStore


class LiveView(ControlObject):
    """One view. `content`: names to plain values or to lists of rows, as the app's documentation says."""

    stream: str
    driver_epoch: int = Field(ge=0)
    batch: int = Field(ge=0)
    written_at: UtcDatetime
    content: dict[str, Any]


def live_key(stream: str) -> str:
    """Where a stream's live view lies."""
    return f"live/{stream}.json"


def read_live(store: ObjectStore, stream: str) -> LiveView | None:
    """The newest view of a stream; None before its first."""
    key = live_key(stream)
    try:
        return parse(LiveView, store.get(key).body, key)
    except NotFound:
        return None
