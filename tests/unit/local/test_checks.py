"""What a machine lacks is said in one line with what to do."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from millrace.local import checks
from millrace.local.errors import StackError
from millrace.local.ports import free_ports, is_free


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def test_too_little_memory_is_said_with_both_numbers() -> None:
    checks.check_memory(checks.MEMORY_NEEDED)
    with pytest.raises(StackError, match=r"too little memory: 1\.2 GB available, the stack needs 3 GB"):
        checks.check_memory(1_200_000_000)


def test_too_little_disk_names_the_place(tmp_path: Path) -> None:
    checks.check_disk(tmp_path / "not" / "yet", checks.DISK_NEEDED)
    with pytest.raises(StackError, match=rf"0\.5 GB free at {tmp_path}, .*MILLRACE_HOME"):
        checks.check_disk(tmp_path / "not" / "yet", 500_000_000)


def test_a_taken_port_is_named_with_its_owner_and_the_way_out(taken: int) -> None:
    (free,) = free_ports(1)
    with pytest.raises(StackError) as caught:
        checks.check_ports({"MILLRACE_PORT_S3": free, "MILLRACE_PORT_KAFKA": taken})
    said = str(caught.value)
    assert f"port {taken} (MILLRACE_PORT_KAFKA) is taken by " in said
    assert "make up PORT_BASE=" in said
    assert "\n" not in said


def test_the_suggested_ports_are_free() -> None:
    base = checks.suggested_base(6)
    assert all(is_free(base + number) for number in range(6))


def test_two_settings_with_the_same_port_are_refused() -> None:
    (free,) = free_ports(1)
    with pytest.raises(StackError, match="MILLRACE_PORT_S3 and MILLRACE_PORT_KAFKA are the same port"):
        checks.check_ports({"MILLRACE_PORT_S3": free, "MILLRACE_PORT_KAFKA": free})


def test_a_port_that_listens_is_not_free_and_one_that_does_not_is(taken: int) -> None:
    assert not is_free(taken)
    assert all(is_free(port) for port in free_ports(3))
