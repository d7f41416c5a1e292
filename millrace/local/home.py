"""The state directory of a stack and the settings of the stack in it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from millrace import settings as settings_module
from millrace.local.errors import StackError
from millrace.local.programs import log_dir, run_dir
from millrace.settings import Settings, SettingsError

ANOTHER_DEPLOYMENT = (
    "MILLRACE_FEEDS",
    "MILLRACE_KAFKA",
    "MILLRACE_S3_",
    "MILLRACE_SPARK_",
    "MILLRACE_STREAMHOST",
    "AWS_",
)
"""How settings begin that the shell may have for another deployment, and that the embedded stack has of its own."""


def stack_settings(env: Mapping[str, str] | None = None) -> Settings:
    """The settings of the embedded stack: its own servers and keys, whatever account the shell is set to.

    MILLRACE_KAFKA, MILLRACE_S3_ENDPOINT and AWS_* of the shell may point to another deployment; the embedded
    stack never does. Raises StackError.
    """
    env = os.environ if env is None else env
    try:
        return settings_module.load({k: v for k, v in env.items() if not k.startswith(ANOTHER_DEPLOYMENT)})
    except SettingsError as error:
        raise StackError(str(error)) from None


NOT_FOREIGN = frozenset({"jars", "install.log", "catalog", "lost+found", "run", "logs"})
"""What a directory may hold before it is a home: what `make install` or a broken off `up` made, a catalog of one's
own, what a fresh disk has."""


def is_home(home: Path) -> bool:
    """Whether a stack was ever brought up in this directory."""
    return _lock_file(home).exists()


def foreign(home: Path) -> list[str]:
    """The names of what shows that a directory is not a home, but something else."""
    return [] if is_home(home) else sorted({path.name for path in home.iterdir()} - NOT_FOREIGN)


def make_home(home: Path) -> None:
    """Make the directory and what must be in it; only this user can read it.

    Raises StackError when it holds something else: it would be shut to everybody else now, and removed by `clean`.
    """
    try:
        home.mkdir(parents=True, exist_ok=True)
        if others := foreign(home):
            raise StackError(
                f"{home} holds something else ({', '.join(others[:3])}{', …' if others[3:] else ''}): Millrace needs a "
                "directory of its own; name one with MILLRACE_HOME"
            )
        home.chmod(0o700)
        for directory in (run_dir(home), log_dir(home)):
            directory.mkdir(exist_ok=True)
    except OSError as error:
        raise StackError(
            f"cannot write to {home} ({error.strerror}): choose another place with MILLRACE_HOME"
        ) from None


@contextmanager
def only_one(home: Path) -> Iterator[None]:
    """Keep a second `up` or `down` of the same home out while one is at work."""
    with _lock_file(home).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StackError(
                f"another `millrace up` or `down` of {home} is at work: wait until it is done"
            ) from None
        os.set_inheritable(file.fileno(), False)
        yield


def _lock_file(home: Path) -> Path:
    return run_dir(home) / "command.lock"
