"""The compose file of the project, unchanged, as a stack of containers under a project name and on ports of its own."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest

from millrace.settings import PROJECT_ROOT
from tests.compose.ground import run
from tests.conftest import wait_until

POLL = 0.5


class StackFailed(AssertionError):
    """A container or a command of compose did not do what it should; the message has its last words."""


@dataclass(frozen=True)
class Container:
    """One container as Docker sees it now."""

    id: str
    name: str
    service: str
    running: bool
    health: str
    """healthy, unhealthy or starting; "" where it has no health check."""
    exit_code: int
    pid: int
    """Of its first process, on this machine."""
    started_at: datetime
    restarts: bool
    """Whether Docker starts it again when it ends."""

    @property
    def well(self) -> bool:
        return self.running and self.health in ("healthy", "")


class Stack:
    """`docker compose` on the project's file. Every method may raise StackFailed."""

    def __init__(self, command: Sequence[str], project: str, env_file: Path) -> None:
        self.command = [*command, "--project-name", project, "--env-file", str(env_file)]
        self._project, self._env_file = project, env_file

    def write_env(self, variables: Mapping[str, str]) -> None:
        """What the next commands of compose take for `.env`."""
        self._env_file.touch(mode=0o600)
        self._env_file.write_text("".join(f"{name}={value}\n" for name, value in variables.items()))

    def volume(self, name: str) -> str:
        """Docker's own name of a volume."""
        return f"{self._project}_{name}"

    def compose(
        self, *arguments: str, profiles: Sequence[str] = (), within: float = 1200, check: bool = True
    ) -> str:
        """A command of compose to its end; what it printed."""
        words = [*self.command, *(word for name in profiles for word in ("--profile", name)), *arguments]
        environment = os.environ | {
            "COMPOSE_PROGRESS": "plain" if arguments[0] == "build" else "quiet",
            "DOCKER_BUILDKIT": "0",
        }
        done = run(words, timeout=within, check=False, cwd=PROJECT_ROOT, env=environment)
        if check and done.returncode:
            raise StackFailed(
                f"docker compose {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout[-4000:]}"
            )
        return done.stdout

    def containers(self) -> list[Container]:
        """All of them, also those that have ended, by name."""
        mine = ["--filter", f"label=com.docker.compose.project={self._project}"]
        listed = run(["docker", "ps", "--all", "--quiet", "--no-trunc", *mine]).stdout.split()
        if not listed:
            return []
        told = run(["docker", "inspect", *listed], check=False).stdout
        try:
            found = json.loads(told)
        except ValueError:  # one has just gone
            return self.containers()
        return sorted((_container(one) for one in found), key=lambda one: one.name)

    def container(self, name: str) -> Container:
        for one in self.containers():
            if one.name == name:
                return one
        raise StackFailed(f"there is no container {name}")

    def kill(self, victim: Container) -> None:
        """SIGKILL to a container's first process, from outside: `docker kill` would count as a wish to stop it."""
        with suppress(ProcessLookupError):
            os.kill(victim.pid, signal.SIGKILL)

    def wait_until_back(self, victim: Container, within: float) -> float:
        """Seconds until a killed container runs again by its restart policy and is healthy."""
        began = time.monotonic()

        def is_back() -> bool:
            now = self.container(victim.name)
            return now.id == victim.id and now.started_at > victim.started_at and now.well

        self.wait(is_back, within, f"{victim.name} to be back", about=victim.service)
        return time.monotonic() - began

    def wait(
        self,
        condition: Callable[[], object],
        within: float,
        what: str,
        *,
        about: str = "",
        every: float = POLL,
    ) -> None:
        """Until a condition is true; `about` is the service whose log is told when it does not become so."""
        try:
            wait_until(condition, within, what, every)
        except pytest.fail.Exception as failure:
            raise StackFailed(f"{failure}\n{self.last_words(about)}") from None

    def last_words(self, service: str = "", lines: int = 40) -> str:
        """How all containers are, and the end of the log of one service, or of all that are not well."""
        containers = self.containers()
        told = [
            f"{one.name}: {'running' if one.running else f'ended with {one.exit_code}'} {one.health}"
            for one in containers
        ]
        ill = [service] if service else [one.service for one in containers if not one.well and one.restarts]
        for name in dict.fromkeys(ill):
            told.append(self.compose("logs", "--no-color", f"--tail={lines}", name, check=False))
        return "\n".join(told)


def _container(told: Mapping[str, object]) -> Container:
    state: dict[str, object] = told["State"]  # type: ignore[assignment]
    config: dict[str, dict[str, str]] = told["Config"]  # type: ignore[assignment]
    host: dict[str, dict[str, str]] = told["HostConfig"]  # type: ignore[assignment]
    health: dict[str, str] = state.get("Health") or {}  # type: ignore[assignment]
    return Container(
        id=str(told["Id"]),
        name=str(told["Name"]).lstrip("/"),
        service=config["Labels"]["com.docker.compose.service"],
        running=state["Status"] == "running",
        health=health.get("Status", ""),
        exit_code=int(str(state["ExitCode"])),
        pid=int(str(state["Pid"])),
        started_at=_moment(str(state["StartedAt"])),
        restarts=host["RestartPolicy"]["Name"] not in ("", "no"),
    )


def _moment(text: str) -> datetime:
    """Docker gives nanoseconds."""
    whole, _, rest = text.rstrip("Z").partition(".")
    return datetime.fromisoformat(f"{whole}.{rest[:6]:0<6}+00:00")
