"""Finding a Java that is new enough, and saying how to get one."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from millrace.local.errors import StackError

OLDEST_JAVA = 17
"""Spark 4 and Kafka 4 are compiled for Java 17."""

_VERSION = re.compile(r'version "(\d+)(?:\.(\d+))?')


@dataclass(frozen=True)
class Java:
    """A Java program and its feature version (17, 21, …)."""

    program: Path
    version: int


def parse_version(output: str) -> int | None:
    """The feature version out of what `java -version` prints; None when that is not to be found in it.

    Up to Java 8 the version reads "1.8.0_392", since then "17.0.15" or, for a first release, "21".
    """
    match = _VERSION.search(output)
    if match is None:
        return None
    major, minor = int(match[1]), int(match[2] or 0)
    return minor if major == 1 else major


def find_java(env: Mapping[str, str] | None = None) -> Java:
    """The Java in JAVA_HOME or else on PATH. Raises StackError when there is none that is new enough."""
    env = os.environ if env is None else env
    home = env.get("JAVA_HOME")
    found = str(Path(home) / "bin" / "java") if home else shutil.which("java", path=env.get("PATH"))
    source = f"JAVA_HOME={home}" if home else "PATH"
    if found is None or not os.access(found, os.X_OK):
        raise StackError(
            f"no Java in {source}: Millrace needs Java {OLDEST_JAVA} or newer; {how_to_install()}"
        )
    try:
        answer = subprocess.run(
            [found, "-version"], capture_output=True, text=True, errors="replace", check=False
        )
    except OSError as error:  # for another kind of machine, say
        raise StackError(f"{found} cannot be run ({error.strerror}); {how_to_install()}") from None
    version = parse_version(answer.stderr + answer.stdout)
    if version is None:
        raise StackError(f"{found} -version does not say its version; {how_to_install()}")
    if version < OLDEST_JAVA:
        raise StackError(
            f"{found} is Java {version}: Millrace needs Java {OLDEST_JAVA} or newer; {how_to_install()}, "
            "or set JAVA_HOME to a newer one"
        )
    return Java(Path(found), version)


def how_to_install() -> str:
    """The one command that installs a suitable Java on this system."""
    commands = {
        "apt-get": "sudo apt-get satisfy 'default-jre-headless (>= 2:1.17) | openjdk-17-jre-headless'",
        "dnf": "sudo dnf install java-17-openjdk-headless",
        "zypper": "sudo zypper install java-17-openjdk-headless",
        "pacman": "sudo pacman -S jre17-openjdk-headless",
        "apk": "sudo apk add openjdk17-jre-headless",
        "brew": "brew install openjdk@17",
    }
    for program, command in commands.items():
        if shutil.which(program):
            return f"install it with `{command}`"
    return f"install a JDK of {platform.system()} from your system's packages"
