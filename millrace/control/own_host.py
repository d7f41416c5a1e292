"""Whether the stream host that started this process is still there.

Who outlives it works on, but nobody starts it again when it crashes, ends it when it hangs, or reads what it prints;
and the host that follows does not know of it. Its statuses are fresh all the while, so only it can say so.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime

UNDER_SUPERVISORD = "SUPERVISOR_ENABLED"
"""supervisord sets it for what it starts, and what it starts hands it on."""


class OwnHost:
    """The parent of this process, if a supervisord is behind it; nobody, for what was started by hand."""

    def __init__(self) -> None:
        self._pid = os.getppid() if UNDER_SUPERVISORD in os.environ else None
        self._gone_at: datetime | None = None

    def gone_at(self) -> datetime | None:
        """When it was first seen to be gone, by this machine's clock; None while it lives."""
        if self._gone_at is None and self._pid is not None and os.getppid() != self._pid:
            self._gone_at = datetime.now(UTC)
        return self._gone_at
