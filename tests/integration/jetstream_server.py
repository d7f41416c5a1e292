"""A real websocket server on 127.0.0.1 that behaves like Jetstream: filters by cursor, and fails when told to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlsplit

from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve

Serve = Callable[["Asked"], Iterator[str | None]]
"""The frames of a connection; None breaks it off without a goodbye. When they are over, it stays open and quiet."""


@dataclass(frozen=True)
class Asked:
    """What a client asked for: `number` counts the connections, from 0."""

    number: int
    path: str
    query: dict[str, list[str]] = field(default_factory=dict)
    subprotocols: Sequence[str] = ()

    @property
    def cursor(self) -> int | None:
        return int(self.query["cursor"][0]) if "cursor" in self.query else None


class JetstreamServer:
    """Use as a context. `serving` gives the frames; `refusing` maps a connection's number to an HTTP status."""

    def __init__(self, serving: Serve, refusing: dict[int, HTTPStatus] | None = None) -> None:
        self._serving = serving
        self._refusing = refusing or {}
        self._handshakes = 0
        self._closing = threading.Event()
        self.asked: list[Asked] = []
        self._server = serve(self._handle, "127.0.0.1", 0, process_request=self._process)
        self._thread = threading.Thread(target=self._server.serve_forever)

    @property
    def address(self) -> str:
        return f"ws://127.0.0.1:{self._server.socket.getsockname()[1]}"

    def __enter__(self) -> JetstreamServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self._server.shutdown()
        self._thread.join()

    def _process(self, connection: ServerConnection, request: Request) -> Response | None:
        number, self._handshakes = self._handshakes, self._handshakes + 1
        parts = urlsplit(request.path)
        wanted = request.headers.get("Sec-WebSocket-Protocol", "")
        offered = [name.strip() for name in wanted.split(",") if name.strip()]
        self.asked.append(Asked(number, parts.path, parse_qs(parts.query), offered))
        if number in self._refusing:
            return connection.respond(self._refusing[number], '{"error":"CursorTooOld"}')
        return None

    def _handle(self, connection: ServerConnection) -> None:
        try:
            for frame in self._serving(self.asked[-1]):
                if self._closing.is_set():
                    return
                if frame is None:
                    connection.socket.shutdown(2)
                    return
                connection.send(frame)
            while not self._closing.wait(0.05):
                connection.ping()  # notices that the client has gone
        except (ConnectionClosed, OSError):
            return


def as_version_2(event: dict[str, Any], seq: int) -> dict[str, Any]:
    """An event of version 1 in the shape of version 2."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=event["time_us"])
    payload = {
        "$type": f"network.bsky.jetstream.subscribeEvents#{event['kind']}",
        "seq": seq,
        "did": event["did"],
        "time": moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
    }
    payload |= event["commit"] if event["kind"] == "commit" else {event["kind"]: event[event["kind"]]}
    return {"$type": "message", "payload": payload}


def post_event(number: int, time_us: int) -> str:
    """A made-up post of version 1."""
    record = {
        "$type": "app.bsky.feed.post",
        "text": f"post {number} #n{number}",
        "createdAt": "1999-01-01T00:00:00Z",
    }
    commit = {
        "rev": str(number),
        "operation": "create",
        "collection": "app.bsky.feed.post",
        "rkey": str(number),
        "record": record,
    }
    event = {"did": f"did:plc:{number % 7}", "time_us": time_us, "kind": "commit", "commit": commit}
    return json.dumps(event)
