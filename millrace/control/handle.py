"""A stream's own process where its driver is shared: asks the shared driver to run it, and ends as it ends.

To the stream host, to Airflow and to whoever looks at a process id this is the driver: SIGTERM stops the stream
after its micro-batch, the exit code is the stream's, and the end of this process is the end of the stream. It is
one of several beside a JVM that they share to save memory, so it loads nothing but the standard library.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from millrace.control.shared_socket import Lines, shared_socket

CONNECT_WITHIN = 90.0
"""Seconds until a shared driver must have taken the stream; it does so before it starts its JVM."""
CONNECT_EVERY = 0.2
ASK_HOST_EVERY = 3.0
CRASHED = 1


class Handle:
    """From `run()` to the stream's exit code. `ask_host` starts the shared driver, if it does not run."""

    def __init__(
        self, path: Path, request: dict[str, Any], ask_host: Callable[[], None], say: Callable[[str], None]
    ) -> None:
        self._path, self._request, self._ask_host, self._say = path, request, ask_host, say
        self._stopping = False
        self._lines: Lines | None = None
        self._alone_since = time.monotonic()

    def run(self) -> int:
        while not self._stopping:
            lines = self._connected()
            if lines is None:
                break
            code = self._follow(lines)
            if code is not None:
                return code
            time.sleep(CONNECT_EVERY)
        return 0 if self._stopping else CRASHED

    def stop(self) -> None:
        """From a signal: stop the stream after its micro-batch."""
        self._stopping = True
        if self._lines is not None:
            self._lines.send(stop="asked to stop by a signal")

    def _connected(self) -> Lines | None:
        """A connection; None when there was none in time, or none is wanted any more."""
        asked = time.monotonic()
        while not self._stopping:
            if time.monotonic() - self._alone_since > CONNECT_WITHIN:
                self._say(f"no shared driver takes it on {self._path}; see its log for the reason")
                return None
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                connection.connect(str(self._path))
                return Lines(connection)
            except OSError:
                connection.close()
                if time.monotonic() - asked > ASK_HOST_EVERY:
                    self._ask_host()
                    asked = time.monotonic()
            time.sleep(CONNECT_EVERY)
        return None

    def _follow(self, lines: Lines) -> int | None:
        """The stream's exit code; None when the shared driver wants to be asked again."""
        taken = False
        if not lines.send(**self._request):
            return None
        self._lines = lines
        if self._stopping:  # the signal came before there was anybody to tell
            lines.send(stop="asked to stop by a signal")
        while (message := lines.receive()) is not None:
            if "ended" in message:
                if message.get("words"):
                    self._say(str(message["words"]))
                return int(message["ended"])
            if "again" in message:
                self._say(str(message["again"]))
                self._alone_since = time.monotonic()
                taken = False
                break
            taken = True
        self._lines = None
        if not taken:
            return None
        self._say("the shared driver is gone, and its JVM with it; see its log for the reason")
        return CRASHED


def main() -> None:
    """`python -m millrace.control.handle`; the stream host becomes it (see execute.py)."""
    parser = argparse.ArgumentParser(prog="python -m millrace.control.handle")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--driver", required=True)
    parser.add_argument("--stream", required=True)
    parser.add_argument("--spec", required=True)
    parser.add_argument("--revision", type=int, required=True)
    parser.add_argument("--stop-within", type=float, required=True)
    given = parser.parse_args()
    request = {
        "stream": given.stream,
        "spec": given.spec,
        "revision": given.revision,
        "pid": os.getpid(),
        "stop_within": given.stop_within,
    }

    def say(text: str) -> None:
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        print(f"{now} millrace handle: {given.stream}: {text}", flush=True)

    def ask_host() -> None:
        from millrace.control.launcher import StreamHost
        from millrace.control.process import LauncherError
        from millrace.control.streamhost import shared_program, socket_file

        try:
            StreamHost(socket_file(given.home)).start(shared_program(given.driver))
        except LauncherError as error:
            say(str(error))

    handle = Handle(shared_socket(given.home, given.driver), request, ask_host, say)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: handle.stop())
    sys.exit(handle.run())


if __name__ == "__main__":
    main()
