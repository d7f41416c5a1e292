"""How a stream's handle and its shared driver talk: lines of JSON on a unix socket that only this user may open.

    handle -> driver    {"stream": …, "spec": …, "revision": …, "pid": …, "stop_within": …}, then {"stop": why}
    driver -> handle    {"taken": true}, at last {"ended": code, "words": …} or {"again": why}

    anybody -> driver   {"clear": stream}, and the connection ends when that stream is not in the process any more

The end of the connection says that the other side is gone: without its handle a stream is stopped, and without
its driver a handle ends as a driver that crashed. A handle loads this, so nothing heavy is imported here.
"""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path
from typing import Any

MOST_OF_A_LINE = 65_536
"""Bytes."""


def shared_socket(home: Path, driver: str) -> Path:
    """Where a shared driver listens. A name of 20 characters fits wherever the stream host's own socket does."""
    return home / "run" / f"d-{driver}.sock"


class Lines:
    """One end of a connection, for messages whole."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._received = connection.makefile("rb")
        self._sending = threading.RLock()

    def send(self, **message: Any) -> bool:
        """False when nobody is there any more."""
        try:
            with self._sending:
                self._connection.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            return False
        return True

    def receive(self) -> dict[str, Any] | None:
        """The next message; None when the connection has ended, or was cut, or what came is no message."""
        try:
            line = self._received.readline(MOST_OF_A_LINE)
            message = json.loads(line) if line.endswith(b"\n") else None
        except (OSError, ValueError):
            return None
        return message if isinstance(message, dict) else None

    def close(self) -> None:
        """The other side hears of it at once, and so does a thread that is waiting in `receive`."""
        try:
            self._connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            return


def clear(path: Path, stream: str) -> None:
    """Return when no life of a stream is in the shared driver that listens there, or nobody listens.

    Its handle may have been killed a moment ago: the stream then ends after its micro-batch, or with the process.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            connection.connect(str(path))
        except OSError:
            return
        lines = Lines(connection)
        lines.send(clear=stream)
        lines.receive()
