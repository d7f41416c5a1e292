"""A webhook on 127.0.0.1 that keeps what it is sent, as JSON by apprise."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Receiver(ThreadingHTTPServer):
    """Keeps what it got, or answers with another `status`. `key` is the secret part of its address."""

    def __init__(self, key: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.got: list[dict[str, str]] = []
        self.status = 200
        self._key = key

    @property
    def titles(self) -> list[str]:
        return [message["title"] for message in self.got]

    @property
    def connection(self) -> dict[str, object]:
        """The `extra` of an Airflow connection to it, of the type apprise."""
        url = f"json://127.0.0.1:{self.server_port}/{self._key}"
        return {"config": [{"path": url, "tag": "alerts"}]}


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.server.status == 200:
            self.server.got.append(body)
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def receiving(key: str) -> Iterator[Receiver]:
    """One that answers, for the length of a block."""
    with Receiver(key) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()
