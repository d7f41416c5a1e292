"""An object store behind TLS with an authority of its own, in a prefix, and temporary keys."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from millrace import settings
from millrace.doctor.store import look_at_store
from millrace.local.ports import free_ports
from millrace.local.s3 import S3Server
from millrace.object_bodies import BodyReader
from millrace.settings import Settings
from millrace.store import PreconditionFailed, StoreUnavailable, open_store
from tests.conftest import running, wait_until
from tests.integration.certificates import Certificates, make_certificates

pytestmark = pytest.mark.stack
KEYS = {"AWS_ACCESS_KEY_ID": "millrace", "AWS_SECRET_ACCESS_KEY": "not-a-secret-only-for-tests"}


@dataclass(frozen=True)
class SecureServer(S3Server):
    """The embedded server with a second door, which is the one that is used."""

    secure_port: int
    certificates: Certificates

    def prepare(self) -> None:
        super().prepare()
        with self.properties_file.open("a", encoding="utf-8") as file:
            file.write(
                f"s3proxy.secure-endpoint=https://127.0.0.1:{self.secure_port}\n"
                f"s3proxy.keystore-path={self.certificates.keystore}\n"
                f"s3proxy.keystore-password={self.certificates.password}\n"
            )


@pytest.fixture(scope="module")
def guarded(jars: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    directory = tmp_path_factory.mktemp("secure-s3")
    certificates = make_certificates(directory / "certificates")
    port, secure_port = free_ports(2)
    server = SecureServer(
        directory / "s3",
        port,
        KEYS["AWS_ACCESS_KEY_ID"],
        KEYS["AWS_SECRET_ACCESS_KEY"],
        secure_port,
        certificates,
    )
    server.prepare()
    with running(server.command(), directory / "s3.log") as process:
        wait_until(lambda: server.is_ready() or process.poll() is not None, 60, "the S3 server to start")
        assert process.poll() is None, (directory / "s3.log").read_text()
        found = settings.load(
            {
                **KEYS,
                "MILLRACE_HOME": str(directory / "home"),
                "MILLRACE_S3_ENDPOINT": f"https://127.0.0.1:{secure_port}",
                "MILLRACE_S3_CA": str(certificates.ca),
                "MILLRACE_BUCKET": "guarded",
                "MILLRACE_PREFIX": "a team/of ours",
            }
        )
        open_store(found).ensure_bucket()
        yield found


def test_everything_goes_through_tls_below_the_prefix(guarded: Settings) -> None:
    store = open_store(guarded)
    etag = store.put("hours/one", b"first", if_absent=True)
    with pytest.raises(PreconditionFailed):
        store.put("hours/one", b"again", if_absent=True)
    store.put("hours/one", b"second", if_match=etag)
    assert store.get("hours/one").body == store.get_body("hours/one") == b"second"
    assert BodyReader(guarded).read("a team/of ours/hours/one") == b"second", "not only by way of boto3"
    assert [info.key for info in store.list_objects("")] == ["hours/one"]
    outside = open_store(replace(guarded, prefix=""))
    assert [info.key for info in outside.list_objects("")] == ["a team/of ours/hours/one"]
    assert not any(one.level == "error" for one in look_at_store(store, rounds=2))
    store.delete("hours/one")


def test_a_server_of_an_unknown_authority_is_not_believed(guarded: Settings, tmp_path: Path) -> None:
    for ca in (None, make_certificates(tmp_path).ca):
        stranger = replace(guarded, s3_ca=ca)
        with pytest.raises(StoreUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
            open_store(stranger).get("hours/one")
        assert BodyReader(stranger).read("a team/of ours/hours/one") is None
        (finding,) = look_at_store(open_store(stranger), rounds=1)
        assert "MILLRACE_S3_CA" in finding.do


@contextmanager
def listener() -> Iterator[tuple[str, list[str | None]]]:
    """A server that only notes which session tokens requests come with."""
    tokens: list[str | None] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            tokens.append(self.headers.get("x-amz-security-token"))
            self.send_response(200)
            self.send_header("ETag", '"etag"')
            self.send_header("Last-Modified", "Sun, 01 Mar 2026 12:00:00 GMT")
            self.send_header("Content-Length", "4")
            self.end_headers()
            self.wfile.write(b"body")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", tokens
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_temporary_keys_go_with_their_token(tmp_path: Path) -> None:
    with listener() as (endpoint, tokens):
        found = settings.load(
            {
                **KEYS,
                "AWS_SESSION_TOKEN": "of an hour",
                "MILLRACE_HOME": str(tmp_path),
                "MILLRACE_S3_ENDPOINT": endpoint,
            }
        )
        assert open_store(found).get("key").body == b"body"
        assert BodyReader(found).read("key") == b"body"
    assert tokens == ["of an hour", "of an hour"]
