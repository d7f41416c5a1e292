"""What a source refuses before anything is started."""

from __future__ import annotations

from pathlib import Path

import pytest

from millrace.catalog import StreamSpec
from spark_apps.runtime.errors import BadConfiguration
from spark_apps.runtime.socket_source import SocketSource
from spark_apps.runtime.sources import FilesSource


def spec(source: str) -> StreamSpec:
    return StreamSpec(name="s", app="s", source=source, sinks=("console",))


def test_a_directory_that_is_none_is_refused_in_words(tmp_path: Path) -> None:
    FilesSource(spec(f"files://{tmp_path}")).check(None)
    (tmp_path / "file").touch()
    for place in ("nowhere", "file"):
        with pytest.raises(BadConfiguration, match=f"s reads files://.*{place}: .* is not a directory"):
            FilesSource(spec(f"files://{tmp_path}/{place}")).check(None)


def test_a_socket_says_what_it_cannot_do_and_what_can() -> None:
    source = SocketSource(spec("socket://[::1]:9999"))
    assert source.end_offsets() is None
    assert source.warning is not None
    assert "cannot be read again" in source.warning
    assert "`millrace feed lines [::1]:9999` brings the same lines to Kafka" in source.warning
    assert source.refused("Connection refused") == (
        "no connection to socket://[::1]:9999: Connection refused. Start the server, such as `nc -lk 9999` on ::1"
    )
