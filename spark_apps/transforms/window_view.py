"""What a live view says of the sliding window that it shows."""

from __future__ import annotations

from datetime import timedelta

from millrace.catalog import format_duration
from spark_apps.runtime.clock import as_text
from spark_apps.transforms.sliding_window import SlidingWindow


def window_view(window: SlidingWindow, newest_at: int | None) -> dict[str, str | None]:
    """The window that is shown when the newest accepted post is of `newest_at` (epoch ms); see docs/schemas.md."""
    end = window.newest_end(newest_at) if newest_at is not None else None
    return {
        "as_of": as_text(newest_at),
        "window": format_duration(timedelta(milliseconds=window.length)),
        "slide": format_duration(timedelta(milliseconds=window.slide)),
        "window_start": as_text(end - window.length if end is not None else None),
        "window_end": as_text(end),
    }
