"""A feed that was stopped before it was through."""

from __future__ import annotations


class Interrupted(RuntimeError):
    """The replay was stopped before its end; what was read is in Kafka, the end of input is not."""
