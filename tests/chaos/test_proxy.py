"""The fault proxy does what it is told, and nothing else."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from tests.chaos.proxy import FaultProxy, Request, Trap, Trouble


class Server(ThreadingHTTPServer):
    """Remembers what was put, and says it."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.put: list[tuple[str, bytes]] = []


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.put.append((self.path, body))
        self._say(b"stored")

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"5\r\nhello\r\n0\r\n\r\n")

    def _say(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server()
    threading.Thread(target=found.serve_forever, args=(0.02,), daemon=True).start()
    yield found
    found.shutdown()
    found.server_close()


@pytest.fixture
def proxy(server: Server) -> Iterator[FaultProxy]:
    found = FaultProxy(server.server_address[1], ("one", "two"))
    found.start()
    yield found
    found.stop()


def put(proxy: FaultProxy, door: str, path: str, timeout: float = 5) -> httpx.Response:
    return httpx.put(f"{proxy.endpoint(door)}/{path}", content=b"body", timeout=timeout, trust_env=False)


def test_it_passes_everything_on_and_tells_who_asked_for_what(proxy: FaultProxy, server: Server) -> None:
    seen: list[tuple[str, str, str, int]] = []
    proxy.witness(lambda request, status: seen.append((request.door, request.method, request.key, status)))
    with httpx.Client(trust_env=False) as client:
        for _ in range(3):
            assert client.get(f"{proxy.endpoint('one')}/bucket?list-type=2&prefix=a%2Fb").text == "hello"
        answer = client.put(
            f"{proxy.endpoint('two')}/b/k%20y", content=b"x", headers={"Expect": "100-continue"}
        )
    assert answer.text == "stored"
    assert server.put == [("/b/k%20y", b"x")]
    assert seen == [("one", "GET", "bucket/a/b", 200)] * 3 + [("two", "PUT", "b/k y", 200)]


def test_trouble_hits_whom_it_fits_and_is_over_when_it_is_over(proxy: FaultProxy, server: Server) -> None:
    with proxy.trouble(Trouble("status", where=lambda one: one.door == "one", status=503)):
        assert put(proxy, "one", "a").status_code == 503
        assert put(proxy, "two", "b").status_code == 200
    assert put(proxy, "one", "c").status_code == 200
    assert [path for path, _ in server.put] == ["/b", "/c"]


def test_a_reset_before_or_after_the_server_has_done_it(proxy: FaultProxy, server: Server) -> None:
    with proxy.trouble(Trouble("reset")), pytest.raises(httpx.TransportError):
        put(proxy, "one", "before")
    with proxy.trouble(Trouble("reset_after")), pytest.raises(httpx.TransportError):
        put(proxy, "one", "after")
    assert [path for path, _ in server.put] == ["/after"]


def test_what_is_held_arrives_late(proxy: FaultProxy, server: Server) -> None:
    held = Trouble("hold")
    answers: list[int] = []
    with proxy.trouble(held):
        late = threading.Thread(target=lambda: answers.append(put(proxy, "one", "late", 30).status_code))
        late.start()
        late.join(0.3)
        assert (late.is_alive(), held.hits, server.put) == (True, 1, [])
    late.join(5)
    assert (answers, server.put) == ([200], [("/late", b"body")])


@pytest.mark.parametrize(("when", "stored"), [("before", []), ("after", ["/x"])])
def test_a_trap_is_sprung_once_between_two_steps(
    proxy: FaultProxy, server: Server, when: str, stored: list[str]
) -> None:
    calls: list[int] = []

    def fits(request: Request) -> bool:
        return request.method == "PUT"

    with proxy.trap(Trap(fits, "before" if when == "before" else "after", lambda: calls.append(1))) as trap:
        with pytest.raises(httpx.TransportError):
            put(proxy, "one", "x")
        assert trap.sprung.is_set()
        assert [path for path, _ in server.put] == stored
        assert put(proxy, "one", "y").status_code == 200
    assert calls == [1]


def test_a_server_that_is_gone_is_a_torn_connection(proxy: FaultProxy, server: Server) -> None:
    server.server_close()
    with pytest.raises(httpx.TransportError):
        put(proxy, "one", "x")
