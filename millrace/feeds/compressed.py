"""Reading files line by line, plain or compressed with xz or gz, told apart by their first bytes."""

from __future__ import annotations

import gzip
import lzma
import zlib
from contextlib import ExitStack
from pathlib import Path
from typing import IO, BinaryIO, cast


class RecordedError(ValueError):
    """A recording cannot be read; the message names file and line and says what would be right."""


class Lines:
    """Context: the lines of a plain or compressed file, and the file below, which knows how far it is."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stack = ExitStack()

    def __enter__(self) -> tuple[IO[bytes], BinaryIO]:
        try:
            below: BinaryIO = self._stack.enter_context(self._path.open("rb"))
        except OSError as error:
            raise RecordedError(f"{self._path} cannot be read: {error.strerror}") from None
        magic = below.read(6)
        below.seek(0)
        lines: IO[bytes] = below
        if magic.startswith(b"\xfd7zXZ\0"):
            lines = self._stack.enter_context(lzma.open(below))
        elif magic.startswith(b"\x1f\x8b"):
            lines = self._stack.enter_context(cast(IO[bytes], gzip.open(below)))
        return lines, below

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._stack.close()
        if isinstance(error, (lzma.LZMAError, gzip.BadGzipFile, zlib.error, EOFError)):
            raise RecordedError(f"{self._path} is damaged or cut off: {error}") from None
