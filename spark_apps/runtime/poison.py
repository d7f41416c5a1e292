"""Counting failures of one micro-batch across restarts, so that a poisoned one ends the crash loop."""

from __future__ import annotations

import json
from pathlib import Path


class FailureCount:
    """How often in a row the same batch failed; kept beside the checkpoint."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, batch: int) -> int:
        """Count one more failure of this batch and return how many there were in a row."""
        times = self._read().get(str(batch), 0) + 1
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(json.dumps({str(batch): times}), encoding="utf-8")
        return times

    def clear(self) -> None:
        """A batch succeeded."""
        self._path.unlink(missing_ok=True)

    def _read(self) -> dict[str, int]:
        try:
            content = json.loads(self._path.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}
