"""A real Airflow beside the stage: its four components as processes that can be killed one by one."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import psutil

from millrace import settings
from millrace.local.airflow_api import AirflowApi
from millrace.local.airflow_config import write_password_file
from millrace.local.airflow_database import ensure_database
from millrace.local.credentials import ensure_secrets
from millrace.local.environment import stack_environment
from millrace.local.java import find_java
from millrace.local.ports import free_ports
from tests.chaos.parts import Part
from tests.families import family, signal_all

UP_WITHIN = 180.0


class Airflow:
    """Supervises the streams of a stage, once it is started. Nothing else of its DAGs runs: they are paused."""

    def __init__(self, home: Path, variables: Mapping[str, str]) -> None:
        """`variables`: where the stage's Kafka, store and catalog are, with the keys."""
        (port,) = free_ports(1)
        secrets = ensure_secrets(home)
        found = settings.load({**variables, "MILLRACE_PORT_AIRFLOW": str(port)})
        self._settings = replace(found, streams="")
        environment = {
            **stack_environment(self._settings, secrets, find_java()),
            **variables,
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "True",
        }
        self._environment = environment
        self._home = home
        self.api = AirflowApi.of(self._settings, secrets)
        commands: dict[str, Sequence[str]] = {
            "api-server": ("api-server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
            "scheduler": ("scheduler", "--skip-serve-logs"),
            "dag-processor": ("dag-processor",),
            "triggerer": ("triggerer", "--skip-serve-logs"),
        }
        self.parts = {
            name: Part(
                f"Airflow's {name}",
                lambda words=words: [sys.executable, "-m", "airflow", *words],  # type: ignore[misc]
                home / "logs" / f"airflow-{name}.log",
                lambda: True,
                environment,
            )
            for name, words in commands.items()
        }
        write_password_file(self._settings, secrets)

    def start(self) -> None:
        """All of it, and wait until every component reports healthy. Raises RuntimeError."""
        ensure_database(self._settings, self._environment, self._home / "logs" / "airflow-database.log")
        self.restart(*self.parts)

    def restart(self, *names: str) -> None:
        """Start components that were killed, and wait until all are healthy."""
        for name in names:
            self.parts[name].start()
        deadline = time.monotonic() + UP_WITHIN
        while self.api.unhealthy() != []:
            if time.monotonic() > deadline:
                raise RuntimeError(
                    f"Airflow does not come up: {self.api.unhealthy()}; see {self._home / 'logs'}"
                )
            time.sleep(0.5)

    def kill(self, *names: str) -> None:
        """SIGKILL to components and everything that they started."""
        members = [one for name in names for one in family(self.parts[name].pid)]
        signal_all(members, signal.SIGKILL)
        for name in names:
            self.parts[name].kill()
        psutil.wait_procs(members, timeout=10)
