"""The stack as its user meets it: quick, closed to the network, and not to be broken by a command too many."""

from __future__ import annotations

import json
import tempfile
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Any

import psutil
import pytest

from millrace.catalog import load_catalog
from millrace.local.credentials import ensure_secrets
from millrace.local.feeds import Feeds
from millrace.local.marker import processes_of
from millrace.local.programs import NAMES
from millrace.settings import PROJECT_ROOT
from tests.conftest import wait_until
from tests.e2e.conftest import Platform, problems, run_millrace
from tests.families import ask, command_lines

pytestmark = pytest.mark.stack

MEMORY_LIMIT = 6_000_000_000
CATALOG = load_catalog(PROJECT_ROOT / "catalog")


def test_everything_runs_within_its_memory_and_says_so(platform: Platform) -> None:
    def streams() -> dict[str, dict[str, Any]]:
        found.update(json.loads(platform.millrace("status", "--json").stdout))
        return {stream["name"]: stream for stream in found["streams"] if stream["name"] in begun}

    found: dict[str, Any] = {}
    begun = CATALOG.started("")
    # A driver may have been killed just now; the feeds bring the next one something to count.
    wait_until(lambda: all(one["facts"] for one in streams().values()), 180, "every stream to count", every=2)
    assert {name: one["state"] for name, one in streams().items()} == dict.fromkeys(begun, "running")
    assert [line["name"] for line in found["processes"]] == [*NAMES, "supervisor"]
    assert problems(found) == []
    assert found["memory"] < MEMORY_LIMIT
    feeds = {feed["name"]: feed for feed in found["feeds"]}
    wanted = Feeds.of(CATALOG, "city", begun).wanted
    assert set(feeds) == set(wanted)
    for name in wanted:
        assert feeds[name]["state"] == "running", feeds[name]
        assert feeds[name]["messages"] > 0, name


def test_nothing_listens_but_on_this_machine(platform: Platform) -> None:
    listening = {
        (process.pid, connection.laddr.ip)
        for process, connections in ask(
            platform.supervisor.processes(), lambda member: member.net_connections("inet")
        )
        for connection in connections
        if connection.status == psutil.CONN_LISTEN
    }
    assert len(listening) >= 4  # Kafka, the S3 server, Airflow, a driver: or this test looks at nothing
    assert [pair for pair in listening if not _is_loopback(pair[1])] == []


def _is_loopback(address: str) -> bool:
    parsed = ip_address(address)
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return (mapped or parsed).is_loopback


def test_no_secret_is_in_an_argument_list_or_a_log(platform: Platform) -> None:
    secrets = {n: v for n, v in ensure_secrets(platform.home).items() if n != "AWS_ACCESS_KEY_ID"}
    arguments = "\n".join(command_lines(platform.supervisor.processes()))
    logs = [p for p in platform.home.glob("**/*.log*") if p.is_file() and "kafka/data" not in str(p)]
    texts = {"argument lists": arguments, "what `up` printed": platform.up_output} | {
        str(path): path.read_text(encoding="utf-8", errors="replace") for path in logs
    }
    assert len(logs) > 5
    assert [
        (where, n) for where, text in texts.items() for n, secret in secrets.items() if secret in text
    ] == []


def test_a_second_up_is_quick_and_harmless(platform: Platform) -> None:
    before = {state.name: state.pid for state in platform.supervisor.states()}
    answer = platform.millrace("up")
    assert answer.returncode == 0, answer.stdout
    assert "nothing to start" in answer.stdout
    assert {state.name: state.pid for state in platform.supervisor.states()} == before


def test_a_running_stack_is_neither_cleaned_nor_moved(platform: Platform) -> None:
    cleaned = platform.millrace("clean", "--yes")
    moved = run_millrace(
        {k: v for k, v in platform.environment.items() if "PORT" not in k}, "up", "--port-base", "40000"
    )
    assert (cleaned.returncode, moved.returncode) == (1, 1)
    assert "is running: `millrace down` comes first" in cleaned.stdout
    assert "runs with other ports" in moved.stdout
    assert platform.supervisor.is_running()


def test_the_ports_of_another_stack_are_named_with_a_way_out(platform: Platform) -> None:
    with tempfile.TemporaryDirectory(prefix="mr-") as home:
        environment = {**platform.environment, "MILLRACE_HOME": home}
        answer = run_millrace(environment, "up")
        assert answer.returncode == 1
        assert f"is taken by the stack of {platform.home}: use other ports" in answer.stdout
        assert "make up PORT_BASE=" in answer.stdout
        assert "Traceback" not in answer.stdout
        assert processes_of(Path(home)) == []
