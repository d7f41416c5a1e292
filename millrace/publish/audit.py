"""The gate before publishing: what an audit is told, and what it may answer. The audits are elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from millrace.publish.hour import HourState

if TYPE_CHECKING:
    from millrace.catalog import DatasetSpec


@dataclass(frozen=True)
class Verdict:
    """Whether a candidate may be published. `quality` goes into its footer; `reason` is for a person."""

    passed: bool
    quality: Mapping[str, Any]
    reason: str | None = None


class Audit(Protocol):
    """Judges a candidate hour before it replaces the published one.

    An audit that refuses keeps what a person needs (the rows, the reason) itself, before it answers. It may
    be asked again about the same content, by several publishers at once.
    """

    def __call__(
        self, dataset: DatasetSpec, hour: datetime, candidate: HourState, published: HourState
    ) -> Verdict:
        """The verdict. Raises StoreError when it cannot be reached; then nothing is published."""
        ...
