"""What must be there before a compose file can run: a Docker daemon and the `compose` command.

Both are taken as they are found. What is missing is installed from packages, which takes root on Debian; a daemon
that was started here ends here.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from millrace.settings import PROJECT_ROOT

CACHE = PROJECT_ROOT / ".millrace" / "compose"
"""Logs and what was built once: not the images, which Docker keeps."""
COMPOSE_MODULE = "github.com/docker/compose/v5"
COMPOSE_VERSION = "v5.5.1"
DAEMON_STARTS_WITHIN = 60.0


class Unavailable(Exception):
    """Docker, compose or an image is not to be had on this machine; one line for a person."""


def run(
    command: Sequence[str | Path], *, timeout: float = 1800, check: bool = True, **options: object
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end; its output in `stdout`, errors too. Raises Unavailable with its last lines."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            **options,  # type: ignore[call-overload]
        )
    except FileNotFoundError:
        raise Unavailable(f"{words[0]} is not installed") from None
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{' '.join(words[:3])} did not end within {timeout:g} s") from None
    if check and done.returncode:
        tail = " | ".join(done.stdout.strip().splitlines()[-6:])
        raise Unavailable(f"{' '.join(words[:4])} ended with {done.returncode}: {tail}")
    return done  # type: ignore[no-any-return]


def install(what: str, *packages: str) -> None:
    """Install packages of Debian's. Raises Unavailable where that cannot be done."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise Unavailable(
            f"{what} is missing and can only be installed here by root with apt-get: install it yourself"
        )
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    run(["apt-get", "update", "-qq"], env=environment)
    run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages], env=environment)


def need(program: str, *packages: str) -> None:
    """Have a program, if need be from packages. Raises Unavailable."""
    if shutil.which(program) is None:
        install(program, *packages)


@contextmanager
def daemon(keep: bool = False) -> Iterator[str]:
    """A Docker daemon for the length of a block; yields what it is. One that runs already is left as it is.

    Raises Unavailable.
    """
    if is_up():
        yield f"{_version()}, which was running"
        return
    need("dockerd", "docker.io", "iptables")
    need("docker", "docker.io")
    CACHE.mkdir(parents=True, exist_ok=True)
    log = CACHE / "dockerd.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["dockerd"], stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    try:
        deadline = time.monotonic() + DAEMON_STARTS_WITHIN
        while not is_up():
            if process.poll() is not None or time.monotonic() > deadline:
                raise Unavailable(f"dockerd does not start: {_complaint(log)} (all of it: {log})")
            time.sleep(0.5)
        yield f"{_version()}, started here"
    finally:
        if not keep:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def is_up() -> bool:
    if shutil.which("docker") is None:
        return False
    return run(["docker", "version", "--format", "{{.Server.Version}}"], check=False).returncode == 0


def compose_command() -> list[str]:
    """`docker compose` where that is installed; else compose built from its Go module. Raises Unavailable."""
    if run(["docker", "compose", "version", "--short"], check=False).returncode == 0:
        return ["docker", "compose"]
    program = CACHE / f"docker-compose-{COMPOSE_VERSION}"
    if not program.exists():
        _build_compose(program)
    return [str(program)]


def _build_compose(program: Path) -> None:
    """In the module cache: `go install` refuses a module whose go.mod excludes others."""
    need("go", "golang-go")
    where = run(["go", "mod", "download", "-json", f"{COMPOSE_MODULE}@{COMPOSE_VERSION}"], cwd="/")
    source = json.loads(where.stdout)["Dir"]
    program.parent.mkdir(parents=True, exist_ok=True)
    flags = f"-s -w -X {COMPOSE_MODULE}/internal.Version={COMPOSE_VERSION}"
    part = program.with_suffix(".part")
    run(
        ["go", "build", "-trimpath", "-buildvcs=false", "-ldflags", flags, "-o", part, "./cmd"],
        cwd=source,
        env=os.environ | {"CGO_ENABLED": "0"},
    )
    part.rename(program)


def _version() -> str:
    return "Docker " + run(["docker", "version", "--format", "{{.Server.Version}}"]).stdout.strip()


def _complaint(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"
