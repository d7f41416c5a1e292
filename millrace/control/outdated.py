"""Whether a running driver is another version than the one that would be deployed now: by its entry, or its code."""

from __future__ import annotations

from pathlib import Path

from millrace.control.code_version import code_version
from millrace.control.status import StatusObservation
from millrace.settings import PROJECT_ROOT


def code_difference(
    app: str | None, status: StatusObservation | None, root: Path = PROJECT_ROOT
) -> list[str]:
    """In words, that the newest driver runs other code than is there now; nothing when it does not, or has ended.

    `app`: None for what has no code of its own to be compared.
    """
    if app is None or status is None or status.status.ended or status.status.code is None:
        return []
    now = code_version(app, root)
    if now is None or now == status.status.code:
        return []
    return [f"code: {status.status.code} runs, {now} is there now"]
