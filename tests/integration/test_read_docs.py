"""Every example of docs/read.md, run as it stands against a real S3 server that holds hours of known totals."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from millrace.local.jars import jar_root
from millrace.settings import PROJECT_ROOT, Settings
from millrace.store import open_store
from tests.integration.published_day import HOURS, RENTALS_OF_AN_HOUR, STATIONS, publish

TEXT = (PROJECT_ROOT / "docs" / "read.md").read_text(encoding="utf-8")
BLOCKS = {
    section.splitlines()[0]: re.findall(r"```(sh|python)\n(.*?)```", section, re.DOTALL)
    for section in TEXT.split("\n## ")[1:]
}
((_, SET_UP),) = BLOCKS["Before you start"]
TOTALS = f"{STATIONS} {len(HOURS) * RENTALS_OF_AN_HOUR}"


@pytest.fixture(scope="module")
def directory(s3_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project directory as `millrace up` leaves it, with the store it names filled."""
    settings = replace(s3_settings, bucket="millrace", prefix="")
    store = open_store(settings)
    store.ensure_bucket()
    publish(store, HOURS)
    root = tmp_path_factory.mktemp("project")
    (root / ".millrace").mkdir()
    secrets = {"AWS_ACCESS_KEY_ID": settings.access_key, "AWS_SECRET_ACCESS_KEY": settings.secret_key}
    (root / ".millrace" / "secrets.json").write_text(json.dumps(secrets))
    kept = {"MILLRACE_PORT_S3": str(urlsplit(settings.s3_endpoint or "").port)}
    (root / ".millrace" / "settings.json").write_text(json.dumps(kept))
    (root / ".venv").symlink_to(Path(sys.executable).parent.parent)
    yield root
    for info in list(store.list_objects("")):
        store.delete(info.key)


def run(directory: Path, kind: str, code: str) -> str:
    """What a snippet prints in a shell that was prepared as the page says, at the test's own port."""
    port = json.loads((directory / ".millrace" / "settings.json").read_text())["MILLRACE_PORT_S3"]
    set_up = SET_UP.replace(":19000", f":{port}")
    assert set_up != SET_UP
    if kind == "python":
        (directory / "snippet.py").write_text(code)
        code = f"'{sys.executable}' snippet.py"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MILLRACE_"))}
    own = {
        "MILLRACE_HOME": str(directory / ".millrace"),
        "MILLRACE_JARS": str(jar_root()),
        "PYTHONPATH": str(PROJECT_ROOT),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "JAVA_TOOL_OPTIONS": "-XX:TieredStopAtLevel=1",  # half the processor time of so short a program
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    done = subprocess.run(
        ["sh", "-euc", set_up + code],
        cwd=directory,
        env=kept | own,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("tool", ["pandas", "Polars", "DuckDB", "Spark"])
def test_published_hours_are_read_by_path_with(tool: str, directory: Path) -> None:
    ((kind, code),) = BLOCKS[tool]
    assert run(directory, kind, code) == TOTALS


def test_the_status_is_in_the_footer(directory: Path) -> None:
    ((kind, code),) = BLOCKS["An hour's status"]
    assert run(directory, kind, code) == "final 2"


def test_millrace_reads_the_same(directory: Path) -> None:
    command, library = BLOCKS["With Millrace"]
    assert len(run(directory, *command).splitlines()) == 1 + len(HOURS) * STATIONS
    assert run(directory, *library) == f"final\n{TOTALS}"


def test_no_example_is_left_out() -> None:
    run_above = {
        "Before you start",
        "pandas",
        "Polars",
        "DuckDB",
        "Spark",
        "An hour's status",
        "With Millrace",
    }
    assert {section for section, blocks in BLOCKS.items() if blocks} == run_above
    assert len(re.findall(r"^```", TEXT, re.MULTILINE)) == 2 * sum(map(len, BLOCKS.values()))
