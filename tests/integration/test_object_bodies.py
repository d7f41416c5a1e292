"""Contents read past boto3 are the same, and whatever goes wrong is what boto3 says of it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from millrace.object_bodies import BodyReader
from millrace.settings import Settings
from millrace.store import NotFound, S3Store, StoreUnavailable, open_store
from tests.integration.test_publish import environment

pytestmark = pytest.mark.stack

FORKING = """
import os, sys
from millrace import settings
from millrace.store import open_store
store = open_store(settings.load())
assert store.get_body("a/thing") == b"content"
child = os.fork()
if not child:
    os._exit(0 if store.get_body("a/thing") == b"content" else 1)
assert os.waitpid(child, 0)[1] == 0
assert store.get_body("a/thing") == b"content"
"""


def test_the_content_is_the_one_that_was_put(store: S3Store, store_settings: Settings) -> None:
    for key, body in {"a/thing": b"content", "empty": b"", "a/b=c d+é%": b"\x00" * 100_000}.items():
        store.put(key, body)
        assert store.get_body(key) == store.get(key).body == body
    assert BodyReader(store_settings).read(f"{store_settings.prefix}/a/thing") == b"content"


def test_an_object_that_is_not_there_is_not_found(store: S3Store) -> None:
    with pytest.raises(NotFound):
        store.get_body("nothing")
    store.put("nothing", b"now it is")
    assert store.get_body("nothing") == b"now it is"


def test_what_cannot_be_read_so_is_read_through_boto3(
    store: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Settings) -> object:
        raise ValueError("a certificate that it does not know")

    monkeypatch.setattr("millrace.object_bodies._connect", refuse)
    store.put("a/thing", b"content")
    assert store.get_body("a/thing") == b"content"


def test_wrong_credentials_and_a_server_that_is_away_are_said_to_be_so(store_settings: Settings) -> None:
    with pytest.raises(StoreUnavailable, match="GET anything in bucket"):
        open_store(replace(store_settings, secret_key="wrong")).get_body("anything")
    with pytest.raises(StoreUnavailable, match="GET anything in bucket"):
        open_store(replace(store_settings, s3_endpoint="http://127.0.0.1:1")).get_body("anything")


def test_a_fork_of_a_process_that_has_read_reads_too(store: S3Store, store_settings: Settings) -> None:
    store.put("a/thing", b"content")
    subprocess.run(
        [sys.executable, "-c", FORKING],
        env=environment(store_settings),
        cwd=Path(__file__).parents[2],
        check=True,
        timeout=60,
    )
