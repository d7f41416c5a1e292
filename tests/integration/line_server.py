"""A TCP server of lines, as `nc -lk` is one: what is sent goes to whoever is connected."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from types import TracebackType


class LineServer:
    """Listens on a free port of 127.0.0.1 until the block ends."""

    def __init__(self, port: int = 0) -> None:
        self._listening = socket.create_server(("127.0.0.1", port))
        self.port = self._listening.getsockname()[1]
        self._connection: socket.socket | None = None

    def __enter__(self) -> LineServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.hang_up()
        self._listening.close()

    def accept(self, within: float = 120) -> None:
        """Take the next connection; `within` in seconds."""
        self.hang_up()
        self._listening.settimeout(within)
        self._connection, _ = self._listening.accept()
        self._connection.settimeout(30)

    def send(self, lines: Iterable[bytes]) -> None:
        assert self._connection is not None
        self._connection.sendall(b"".join(line + b"\n" for line in lines))

    def hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
