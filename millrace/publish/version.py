"""The version of a fact: which recomputation, which life of the checkpoint, which micro-batch.

Packed into one int64 so that *newest* is a plain integer comparison in any engine that reads the rows.
"""

from __future__ import annotations

from typing import NamedTuple

REPLAY_BITS, GENERATION_BITS, BATCH_BITS = 15, 16, 32
"""63 bits together: the packed value stays positive in a signed 64-bit column."""


class VersionOverflow(ValueError):
    """A part does not fit its bits. Refused, never wrapped: a wrapped version would lose to older facts."""


class Version(NamedTuple):
    """(replay, generation, batch), compared in that order."""

    replay: int
    generation: int
    batch: int

    def packed(self) -> int:
        """As one non-negative int64 with the same order. Raises VersionOverflow."""
        for name, value, bits in (
            ("replay", self.replay, REPLAY_BITS),
            ("generation", self.generation, GENERATION_BITS),
            ("batch", self.batch, BATCH_BITS),
        ):
            if not 0 <= value < 1 << bits:
                raise VersionOverflow(f"{name} {value} does not fit {bits} bits (0 to {(1 << bits) - 1})")
        return (self.replay << GENERATION_BITS | self.generation) << BATCH_BITS | self.batch

    @classmethod
    def unpacked(cls, value: int) -> Version:
        """The inverse of `packed`."""
        return cls(
            value >> (GENERATION_BITS + BATCH_BITS),
            value >> BATCH_BITS & (1 << GENERATION_BITS) - 1,
            value & (1 << BATCH_BITS) - 1,
        )
