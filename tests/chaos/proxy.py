"""A proxy before the S3 server that can be told to misbehave, and that sees every request.

Clients come in by *doors*, a port of 127.0.0.1 each, so that one of them can be cut off. It forwards a
request only once it is whole and passes its bytes on unchanged, so that signatures stay valid.
"""

from __future__ import annotations

import asyncio
import random
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import parse_qs, unquote, urlsplit

Where = Callable[["Request"], bool]

FORWARD_WITHIN = 70.0
"""Seconds for the server's answer; longer than any client of ours waits."""
_EXPECT = re.compile(rb"\r\nexpect:[^\r\n]*", re.IGNORECASE)


@dataclass(frozen=True)
class Request:
    """One whole request. `key` is the object's, or the prefix of a listing, with the bucket before it."""

    door: str
    method: str
    key: str
    head: bytes
    body: bytes
    began: float
    """By `time.monotonic`, when its first byte had come."""


@dataclass
class Trouble:
    """What happens to requests that it fits, for as long as it is there.

    `status`: answered so, nothing is stored. `slow`: so many seconds late. `reset`: the connection is torn
    down before the server hears of it; `reset_after`: once the server has done it. `hold`: nothing happens
    until the trouble is over, then the request goes on. `share`: the part of the requests that it hits.
    """

    kind: Literal["status", "slow", "reset", "reset_after", "hold"]
    where: Where = lambda _: True
    status: int = 503
    seconds: float = 1.0
    share: float = 1.0
    hits: int = 0
    over: threading.Event = field(default_factory=threading.Event)


@dataclass
class Trap:
    """Calls `then` once, before or after the server has done the first request that it fits.

    `then` runs while the client waits, and no other request is begun meanwhile: so it can kill the client
    between two of its steps. With `drop` the server never hears of the request, or the client of the answer.
    """

    where: Where
    when: Literal["before", "after"]
    then: Callable[[], None]
    drop: bool = True
    sprung: threading.Event = field(default_factory=threading.Event)


class FaultProxy:
    """Runs in a thread of its own from `start` to `stop`; every method may be called from any thread."""

    def __init__(self, port: int, doors: tuple[str, ...], seed: int = 0) -> None:
        self._port = port
        self._names = doors
        self._dice = random.Random(seed)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="fault proxy", daemon=True)
        self._ready = threading.Event()
        self._ports: dict[str, int] = {}
        self._troubles: list[Trouble] = []
        self._traps: list[Trap] = []
        self._witnesses: list[Callable[[Request, int], None]] = []
        self._stopping: asyncio.Event | None = None

    def start(self) -> None:
        self._thread.start()
        if not self._ready.wait(10):
            raise RuntimeError("the proxy does not start")

    def stop(self) -> None:
        for trouble in list(self._troubles):
            trouble.over.set()
        if self._stopping is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(10)

    def endpoint(self, door: str) -> str:
        return f"http://127.0.0.1:{self._ports[door]}"

    def witness(self, tell: Callable[[Request, int], None]) -> None:
        """Hear of every request that the server has answered, with the status, before its client does."""
        self._witnesses.append(tell)

    @contextmanager
    def trouble(self, *troubles: Trouble) -> Iterator[None]:
        """Misbehave for the length of a block."""
        self._troubles += troubles
        try:
            yield
        finally:
            for one in troubles:
                self._troubles.remove(one)
                one.over.set()

    @contextmanager
    def trap(self, trap: Trap) -> Iterator[Trap]:
        """Set a trap for the length of a block."""
        self._traps.append(trap)
        try:
            yield trap
        finally:
            self._traps.remove(trap)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve_all())

    async def _serve_all(self) -> None:
        self._stopping = asyncio.Event()
        servers = []
        for name in self._names:

            async def enter(
                reader: asyncio.StreamReader, writer: asyncio.StreamWriter, door: str = name
            ) -> None:
                await self._serve(reader, writer, door)

            server = await asyncio.start_server(enter, "127.0.0.1", 0, limit=1 << 20)
            self._ports[name] = server.sockets[0].getsockname()[1]
            servers.append(server)
        self._ready.set()
        await self._stopping.wait()
        for server in servers:
            server.close()
        for task in asyncio.all_tasks():
            if task is not asyncio.current_task():
                task.cancel()
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, door: str) -> None:
        try:
            while (request := await _read_request(reader, writer, door)) is not None:
                answer = await self._answer(request)
                if answer is None:
                    break
                writer.write(answer)
                await writer.drain()
        except (OSError, EOFError, ValueError, TimeoutError, asyncio.CancelledError):
            pass  # one side is gone, or does not speak HTTP: so is this connection
        finally:
            _tear_down(writer)

    async def _answer(self, request: Request) -> bytes | None:
        """What the client gets; None: its connection is reset."""
        reset_after = False
        for trouble in list(self._troubles):
            if not trouble.where(request) or self._dice.random() >= trouble.share:
                continue
            trouble.hits += 1
            match trouble.kind:
                case "status":
                    return _made_up(trouble.status)
                case "reset":
                    return None
                case "reset_after":
                    reset_after = True
                case "slow":
                    await asyncio.sleep(trouble.seconds)
                case "hold":
                    while not trouble.over.is_set():
                        await asyncio.sleep(0.02)
        if self._sprung(request, "before"):
            return None
        status, answer = await asyncio.wait_for(self._forward(request), FORWARD_WITHIN)
        for tell in self._witnesses:
            tell(request, status)
        if (200 <= status < 300 and self._sprung(request, "after")) or reset_after:
            return None
        return answer

    def _sprung(self, request: Request, when: str) -> bool:
        """Whether the request is to be dropped, for it has gone into a trap."""
        for trap in list(self._traps):
            if trap.when == when and not trap.sprung.is_set() and trap.where(request):
                trap.then()
                trap.sprung.set()
                return trap.drop
        return False

    async def _forward(self, request: Request) -> tuple[int, bytes]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 20)
        try:
            writer.write(_EXPECT.sub(b"", request.head) + request.body)
            await writer.drain()
            return await _read_answer(reader, request.method)
        finally:
            writer.close()


async def _read_request(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, door: str
) -> Request | None:
    try:
        first = await reader.readexactly(1)
    except EOFError:
        return None
    began = time.monotonic()
    head = first + await reader.readuntil(b"\r\n\r\n")
    headers = _headers(head)
    if "expect" in headers:
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    body = (
        await _read_body(reader, headers) if {"content-length", "transfer-encoding"} & headers.keys() else b""
    )
    method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
    parts = urlsplit(target)
    query = parse_qs(parts.query)
    key = unquote(parts.path).lstrip("/")
    if "prefix" in query:
        key = f"{key.rstrip('/')}/{query['prefix'][0]}"
    return Request(door, method, key, head, body, began)


async def _read_answer(reader: asyncio.StreamReader, method: str) -> tuple[int, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    status = int(head.split(b" ", 2)[1])
    if status == 100:
        return await _read_answer(reader, method)
    if method == "HEAD" or status in (204, 304):
        return status, head
    return status, head + await _read_body(reader, _headers(head))


async def _read_body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    """As it stands on the wire."""
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body = b""
        while True:
            line = await reader.readuntil(b"\r\n")
            size = int(line.split(b";")[0], 16)
            body += line + await reader.readexactly(size + 2)
            if size == 0:
                return body
    if "content-length" in headers:
        return await reader.readexactly(int(headers["content-length"]))
    return await reader.read()


def _headers(head: bytes) -> dict[str, str]:
    pairs = (line.partition(":") for line in head.decode("latin-1").split("\r\n")[1:] if line)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _made_up(status: int) -> bytes:
    code = {500: "InternalError", 503: "SlowDown"}.get(status, "Error")
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>made up</Message></Error>".encode()
    head = f"HTTP/1.1 {status} {code}\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _tear_down(writer: asyncio.StreamWriter) -> None:
    """Close with a reset: a client that waits for an answer must not take it for an orderly end."""
    sock = writer.get_extra_info("socket")
    if sock is not None:
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
