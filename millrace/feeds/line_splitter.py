"""Bytes as they come from a socket, cut into lines of bounded length."""

from __future__ import annotations

from dataclasses import dataclass

MAX_LINE = 1_000_000
"""Bytes. Longer ones are cut off: whoever connects could otherwise fill the memory without ever ending a line."""


@dataclass(frozen=True, slots=True)
class TooLong:
    """The beginning of a line that is longer than allowed; the rest of it is dropped."""

    beginning: bytes


class LineSplitter:
    """Feed it pieces of any size. A line ends with \\n or \\r\\n, and comes without it."""

    def __init__(self, longest: int = MAX_LINE) -> None:
        self._longest = longest
        self._begun = b""
        self._skipping = False

    def feed(self, piece: bytes) -> list[bytes | TooLong]:
        """The lines that this piece completes."""
        *complete, self._begun = (self._begun + piece).split(b"\n")
        lines: list[bytes | TooLong] = []
        for line in complete:
            if self._skipping:
                self._skipping = False
            elif len(line) > self._longest:
                lines.append(TooLong(line[: self._longest]))
            else:
                lines.append(line.removesuffix(b"\r"))
        if len(self._begun) > self._longest:
            if not self._skipping:
                lines.append(TooLong(self._begun[: self._longest]))
            self._skipping, self._begun = True, b""
        return lines

    def end(self) -> list[bytes]:
        """The last line, if the connection ended without a line end after it."""
        rest = b"" if self._skipping else self._begun.removesuffix(b"\r")
        self._begun, self._skipping = b"", False
        return [rest] if rest else []
