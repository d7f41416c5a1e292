"""`make test-compose`: Docker, images, the project's own image, then the trials; the report goes into docs/compose.md.

    python -m tests.compose.run [--keep] [--report docs/compose.md]

Takes Docker as it is, or installs it (root on Debian). Images that cannot be pulled are built from packages under the
same names, so that the compose file is run as it is. Ends with what it began: no container, no volume, no daemon of its
own; `--keep` leaves everything for a look. Images and what was built stay, and make the next run quick.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from millrace.compose.dotenv import EXAMPLE, completed
from millrace.local.ports import free_ports
from millrace.settings import PROJECT_ROOT
from tests.chaos.report import write_report
from tests.compose.ground import CACHE, Unavailable, compose_command, daemon, run
from tests.compose.scene import UP_WITHIN, Scene
from tests.compose.stack import Stack, StackFailed
from tests.compose.standins import ensure_image, proxy_arguments
from tests.compose.told import Told

PROJECT = "millrace-trials"
PYTEST = (
    "-s",
    "-q",
    "--no-header",
    "--tb=short",
    "--timeout=0",
    "-W",
    "ignore::pytest.PytestAssertRewriteWarning",
)
PORTS = ("AIRFLOW_PORT", "KAFKA_PORT", "S3_PORT", "SPARK_UI_PORT")


class Trials:
    """A plugin of pytest's: hands the trials their stack."""

    def __init__(self, scene: Scene, told: Told) -> None:
        self._scene, self._told = scene, told

    @pytest.fixture
    def scene(self) -> Scene:
        return self._scene

    @pytest.fixture
    def told(self) -> Told:
        return self._told


def main() -> int:
    """0: everything was as it should be; 1: not; 2: there is no Docker to be had."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--keep", action="store_true", help="leave containers and daemon running")
    parser.add_argument("--report", type=Path, help="a Markdown file to write the report into")
    options = parser.parse_args()
    told = Told()
    try:
        with daemon(options.keep) as docker:
            code = run_trials(docker, told, keep=options.keep)
    except Unavailable as problem:
        print(f"the compose file cannot be tested here: {problem}", file=sys.stderr)
        return 2
    except StackFailed as problem:
        print(problem, file=sys.stderr)
        code = 1
    told.finished = True
    if options.report is not None:
        write_report(options.report, "trials", told.markdown())
    return code


def run_trials(docker: str, told: Told, *, keep: bool) -> int:
    with told.step("docker compose") as say:
        command = compose_command()
        version = run([*command, "version", "--short"]).stdout.strip()
        told.versions += [docker, f"compose {version}"]
        say(f"{version}; {docker}")
    for name in images_named(PROJECT_ROOT):
        with told.step(name) as say:
            image = ensure_image(name)
            told.images.append(image)
            say(f"{'STAND-IN' if image.is_standin else 'the real image'}, {image.note}")
    home = CACHE / "trials"
    home.mkdir(parents=True, exist_ok=True)
    variables = environment(PROJECT_ROOT)
    told.kept_in = home / "report.md"
    stack = Stack(command, PROJECT, home / "env")
    stack.write_env(variables)
    remove_all(stack)  # of a run that was broken off
    try:
        with told.step("The project's own images"):
            stack.compose("build", *proxy_arguments(), within=3600)
        return int(
            pytest.main(
                [str(Path(__file__).with_name("trials.py")), *PYTEST],
                plugins=[Trials(Scene(stack, variables, home), told)],
            )
        )
    finally:
        if keep:
            print(f"it is left running: {' '.join(stack.command)} ps")
        else:
            remove_all(stack)


def remove_all(stack: Stack) -> None:
    """Containers, networks and volumes of the trials; images stay."""
    stack.compose("down", "--volumes", "--remove-orphans", profiles=["cluster"])


def images_named(root: Path) -> list[str]:
    """The images that are taken from elsewhere: of the services that build none, and the grounds of what is built."""
    stages = set()
    found = []
    for match in re.finditer(
        r"^FROM\s+(\S+)(?:\s+AS\s+(\S+))?", (root / "Dockerfile").read_text(), re.M | re.I
    ):
        if match[1] not in stages:
            found.append(match[1])
        stages.add(match[2])
    services = (root / "docker-compose.yml").read_text()
    found += re.findall(r"^\s+image:\s+(\S+:(?!local\b)\S+)", services, re.M)
    return sorted(dict.fromkeys(found))


def environment(root: Path) -> dict[str, str]:
    """What `.env` says: the example's words, secrets of this run's own, ports that are free."""
    text, _ = completed((root / EXAMPLE).read_text(encoding="utf-8"))
    said = dict(line.split("=", 1) for line in text.splitlines() if re.match(r"[A-Z][A-Z0-9_]*=", line))
    ports: Mapping[str, str] = dict(zip(PORTS, map(str, free_ports(len(PORTS))), strict=True))
    return said | ports | {"GATE_WITHIN": str(UP_WITHIN)}


if __name__ == "__main__":
    sys.exit(main())
