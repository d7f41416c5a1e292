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


def test_too_little_memory_is_said_with_both_numbers_and_with_the_way_out() -> None:
    checks.check_memory(1, checks.memory_needed(1))
    with pytest.raises(
        StackError, match=r"2\.2 GB available, the stack with 3 Spark drivers needs 3\.\d GB"
    ) as caught:
        checks.check_memory(3, checks.memory_needed(1))
    assert "run fewer streams, such as STREAMS=station_hourly" in str(caught.value)
    with pytest.raises(StackError, match=r"1\.2 GB available, the stack with 1 Spark driver needs") as caught:
        checks.check_memory(1, 1_200_000_000)
    assert "STREAMS" not in str(caught.value)


@pytest.mark.parametrize(
    ("limit", "used", "prefix"),
    [
        ("memory.max", "memory.current", ""),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_"),
    ],
)
def test_a_container_has_what_its_limit_leaves_and_what_it_holds_of_files(
    tmp_path: Path, limit: str, used: str, prefix: str
) -> None:
    (tmp_path / limit).parent.mkdir(exist_ok=True)
    stat = f"active_file 0\ninactive_file 0\n{prefix}active_file 100\n{prefix}inactive_file 200\nanon 300\n"
    (tmp_path / limit).with_name("memory.stat").write_text(stat)
    (tmp_path / used).write_text("600\n")
    (tmp_path / limit).write_text("1000\n")
    assert checks.available_memory(tmp_path) == 700
    (tmp_path / limit).write_text("max\n" if limit == "memory.max" else f"{2**63 - 4096}\n")
    assert checks.available_memory(tmp_path) > 1000


def test_without_control_groups_the_machine_alone_counts(tmp_path: Path) -> None:
    assert checks.available_memory(tmp_path) > 0


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
