"""The whole platform, brought up by the real `millrace up` in a home of its own, once for these tests."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from millrace.control.status import DriverStatus, newest_status
from millrace.control.supervised import dag_of
from millrace.local.airflow_api import AirflowApi
from millrace.local.credentials import ensure_secrets
from millrace.local.environment import stack_environment
from millrace.local.home import stack_settings
from millrace.local.jars import jar_root
from millrace.local.java import find_java
from millrace.local.ports import free_ports
from millrace.local.supervisor import Supervisor
from millrace.settings import DEFAULT_PORTS, PROJECT_ROOT, Settings
from millrace.store import S3Store, open_store
from tests.conftest import wait_until
from tests.webhook import Receiver, receiving

DOOMED = "doomed"
"""A stream that nobody starts but the tests: it fails at each start, as long as its directory is not there."""

IN_ORDER = (
    "test_interrupted_up",
    "test_main_job",
    "test_outage",
    "test_doctor",
    "test_stack",
    "test_recovery",
    "test_airflow_killed",
    "test_stack_recovery",
)
"""The first needs no platform and the last ends it. What is to be told of an outage takes its time, in which tests run
that need nothing of it; none of them kills an Airflow that is about to tell."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """These tests in their order, everything else where it is."""
    mine = [number for number, item in enumerate(items) if item.path.parent == Path(__file__).parent]
    if strangers := {items[number].path.stem for number in mine} - set(IN_ORDER):
        raise pytest.UsageError(f"{', '.join(strangers)}: give it a place in IN_ORDER of {__file__}")
    ordered = sorted((items[number] for number in mine), key=lambda item: IN_ORDER.index(item.path.stem))
    for number, item in zip(mine, ordered, strict=True):
        items[number] = item


@dataclass(frozen=True)
class Platform:
    """A running stack. `environment` is what a shell needs to use `millrace` on it."""

    home: Path
    environment: dict[str, str]
    up_output: str
    up_seconds: float

    @property
    def settings(self) -> Settings:
        secrets = ensure_secrets(self.home)
        return replace(
            stack_settings(self.environment),
            access_key=secrets["AWS_ACCESS_KEY_ID"],
            secret_key=secrets["AWS_SECRET_ACCESS_KEY"],
        )

    @property
    def store(self) -> S3Store:
        return open_store(self.settings)

    @property
    def api(self) -> AirflowApi:
        return AirflowApi.of(self.settings, ensure_secrets(self.home))

    @property
    def inbox(self) -> Path:
        """The directory that the doomed stream reads."""
        return self.home / "inbox"

    def component(self) -> dict[str, str]:
        """The environment of a component of its Airflow."""
        return stack_environment(self.settings, ensure_secrets(self.home), find_java(), self.environment)

    @property
    def supervisor(self) -> Supervisor:
        return Supervisor(self.home)

    def driver(self, stream: str) -> DriverStatus | None:
        """The newest driver's last word."""
        return newest_status(self.store, stream)

    def running_driver(self, stream: str, since: int) -> DriverStatus:
        """The driver of a later epoch than `since`, once it runs and has said so."""
        found: list[DriverStatus] = []

        def runs() -> bool:
            status = self.driver(stream)
            if status is not None and status.driver_epoch > since and status.state == "running":
                found.append(status)
            return bool(found)

        wait_until(runs, 180, f"a driver after epoch {since} to run", every=0.5)
        return found[-1]

    def millrace(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the command as a person would; its output is in `stdout` (errors too)."""
        return run_millrace(self.environment, *arguments)


def problems(found: dict[str, Any]) -> list[str]:
    """What `status --json` says is wrong, but for the stream that is doomed."""
    return [
        *(f"{line['name']} is {line['state']}" for line in found["processes"] if line["state"] != "RUNNING"),
        *(f"{line['name']}: {line['problem']}" for line in found["feeds"] if line["problem"]),
        *(
            f"{line['name']}: {line['problem']}"
            for line in found["streams"]
            if line["problem"] and line["name"] != DOOMED
        ),
    ]


def run_millrace(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "millrace", *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=840,  # pytest's own limit is 900, and says less
        cwd="/",
    )


def fresh_environment(home: Path) -> dict[str, str]:
    """A home of its own on free ports, with the jars of this machine."""
    ports = zip(DEFAULT_PORTS, free_ports(len(DEFAULT_PORTS)), strict=True)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MILLRACE_", "AWS_", "AIRFLOW"))}
    return {
        **kept,
        "MILLRACE_HOME": str(home),
        "MILLRACE_JARS": str(jar_root()),
        **{f"MILLRACE_PORT_{name}": str(port) for name, port in ports},
    }


@pytest.fixture(scope="package")
def platform(jars: None) -> Iterator[Platform]:
    """Everything, up, with the simulated city's past day published. Taken down completely after the last test here:
    all that follow would run beside it."""
    home = Path(tempfile.mkdtemp(prefix="mr-"))  # short: a unix socket must fit below it
    environment = fresh_environment(home) | {"MILLRACE_CATALOG": str(catalog_with_doom(home))}
    begun = time.monotonic()
    try:
        answer = run_millrace(environment, "up")
        seconds = time.monotonic() - begun
        assert answer.returncode == 0, f"{answer.stdout}\n{last_words(home)}"
        found = Platform(home, environment, answer.stdout, seconds)
        yield found
    finally:
        answer = run_millrace(environment, "down")
        left = Supervisor(home).processes()
        assert answer.returncode == 0, answer.stdout
        assert left == []
        shutil.rmtree(home)


def catalog_with_doom(home: Path) -> Path:
    """The project's catalog, and a stream that is soon given up and whose people are told."""
    catalog = home / "catalog"
    shutil.copytree(PROJECT_ROOT / "catalog", catalog)
    doomed = {
        "app": "word_count",
        "source": f"files://{home / 'inbox'}",
        "sinks": ["console"],
        "autostart": False,
        "health": {"down_after": "10s", "recovered_after": "10s"},
        "restarts": {"failures": 2},
        "alerts": {"connection": "team_chat"},
    }
    with (catalog / "streams.yaml").open("a") as file:
        file.write(yaml.safe_dump({DOOMED: doomed}))
    return catalog


@pytest.fixture(scope="package")
def people(platform: Platform) -> Iterator[Receiver]:
    """Whom Airflow tells, by a connection in its database, made as docs/supervision.md says."""
    with receiving("s3cret-of-a-webhook") as receiver:
        add = ["airflow", "connections", "add", "team_chat", "--conn-type", "apprise"]
        add += ["--conn-extra", json.dumps(receiver.connection)]
        done = subprocess.run(
            add, env=platform.component(), capture_output=True, text=True, timeout=180, check=False
        )
        assert done.returncode == 0, done.stderr
        yield receiver


@pytest.fixture(scope="package")
def doom(platform: Platform, people: Receiver) -> None:
    """The doomed stream begins to fail. It takes a while until all is told: other tests come in between."""
    platform.api.pause(dag_of(DOOMED), paused=False)


@pytest.fixture(scope="package")
def outage(platform: Platform, people: Receiver, doom: None) -> list[str]:
    """Let the doomed stream fail until nothing more is to be told, then mend it; what people were told until then.
    That it has recovered they are told later: again others come in between."""
    wait_until(lambda: len(people.got) >= 2, 300, "two messages about the doomed stream", every=0.5)
    told = list(people.titles)
    platform.inbox.mkdir()
    (platform.inbox / "lines").write_text("it was not doomed after all\n")
    ordered = platform.millrace("stream", "start", DOOMED, "--why", "its directory is there")
    assert ordered.returncode == 0, ordered.stdout
    return told


def last_words(home: Path) -> str:
    """The ends of all logs, for the message of a failed start."""
    parts = []
    for path in sorted((home / "logs").glob("*.log")):
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()[-15:]
        parts.append("\n".join([f"== {path.name}", *lines]))
    return "\n".join(parts)
