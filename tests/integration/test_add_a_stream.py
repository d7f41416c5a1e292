"""docs/add-a-stream.md, done as it says in a copy of the project, up to the new stream's published hours."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from millrace.catalog import load_catalog
from millrace.kafka_topics import ensure_topics
from millrace.local.jars import jar_root
from millrace.settings import PROJECT_ROOT, Settings
from tests.integration.streams import StreamUnderTest, rejected_rows

pytestmark = pytest.mark.stack
TEXT = (PROJECT_ROOT / "docs" / "add-a-stream.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(sh|python)\n(.*?)```", TEXT, re.DOTALL)
COPIED = ("catalog", "expectations", "millrace", "spark_apps", "tests", "pyproject.toml")
PUBLISH = """
from datetime import UTC, datetime
from millrace import settings
from millrace.catalog import load_catalog
from millrace.publish.compact import compact_hours
from millrace.publish.due import due_hours
from millrace.quality.auditor import auditor_of
from millrace.store import open_store

here = settings.load()
dataset = load_catalog(here.catalog_dir).datasets["page_views_hourly"]
store = open_store(here)
hours = due_hours(store, dataset, datetime.now(UTC))
for result in compact_hours(store, dataset, hours, audit=auditor_of(store, [dataset])):
    print(result.outcome, result.status)
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The project as in a fresh clone, apart from what is installed."""
    root = tmp_path / "project"
    root.mkdir()
    leave_out = shutil.ignore_patterns("__pycache__", "*.pyc")
    for name in COPIED:
        if (PROJECT_ROOT / name).is_dir():
            shutil.copytree(PROJECT_ROOT / name, root / name, ignore=leave_out)
        else:
            shutil.copy(PROJECT_ROOT / name, root / name)
    return root


def contents(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and path.suffix != ".pyc" and ".pytest_cache" not in path.parts
    }


class Shell:
    """Runs the page's commands in the copy, against the tests' Kafka and S3 server."""

    def __init__(self, project: Path, settings: Settings, kafka: str) -> None:
        self.project, self.kafka = project, kafka
        catalog_dir = project / "catalog"
        here = replace(settings, catalog_dir=catalog_dir)
        self.stream = StreamUnderTest("page_views", here, kafka, catalog_dir, load_catalog(catalog_dir))
        commands = project / ".commands"
        commands.mkdir()
        for name, line in (("millrace", "-m millrace"), ("python", "")):
            (commands / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {line} "$@"\n')
            (commands / name).chmod(0o755)
        self.environment = {
            **self.stream.environment,
            "MILLRACE_JARS": str(jar_root()),
            "PYTHONPATH": str(project),
            "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
        }

    def start(self, kind: str, code: str) -> subprocess.Popen[str]:
        if kind == "python":
            (self.project / ".commands" / "snippet.py").write_text(
                code.replace("127.0.0.1:19092", self.kafka)
            )
            code = "exec python .commands/snippet.py"
        return subprocess.Popen(
            ["sh", "-euc", code], cwd=self.project, env=self.environment, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def run(self, kind: str, code: str) -> str:
        out, err = (process := self.start(kind, code)).communicate(timeout=240)
        assert process.returncode == 0, out + err
        return out


def test_the_page_as_it_stands_ends_with_published_hours(
    project: Path, store_settings: Settings, kafka: str
) -> None:
    scaffold, its_test, transform, own_test, by_hand, send, read = BLOCKS
    before = contents(project)
    shell = Shell(project, store_settings, kafka)
    said = shell.run(*scaffold)
    assert "added to catalog/streams.yaml" in said
    assert "python -m pytest tests/unit/transforms/test_page_views.py" in said
    after = {name: body for name, body in contents(project).items() if not name.startswith(".commands")}
    assert {name for name in after if name not in before} == {
        "spark_apps/page_views.py",
        "spark_apps/transforms/page_views.py",
        "expectations/page_views_hourly.json",
        "tests/unit/transforms/test_page_views.py",
    }
    for name, body in before.items():
        assert after[name] == body or (name.startswith("catalog/") and after[name].startswith(body)), name
    assert "2 passed" in shell.run(*its_test)
    (project / "spark_apps" / "transforms" / "page_views.py").write_text(transform[1])
    (project / "tests" / "unit" / "transforms" / "test_page_views.py").write_text(own_test[1])
    assert "1 passed" in shell.run(*its_test)
    ruff = [sys.executable, "-m", "ruff", "check", "--no-cache", *sorted(set(after) - set(before))[1:]]
    linted = subprocess.run(ruff, cwd=project, capture_output=True, text=True)
    assert linted.returncode == 0, linted.stdout

    seen_by_hand(shell, by_hand[1])
    catalog = load_catalog(project / "catalog")
    shell.stream = replace(shell.stream, catalog=catalog)
    ensure_topics(kafka, [catalog.topics["page_views"]])
    shell.run(*send)
    with shell.stream.driver(project, PYTHONPATH=str(project)) as process:
        shell.stream.wait_for_offset(5, process)
    assert shell.run("python", PUBLISH).split() == ["published", "final"] * 2
    assert shell.run(*read).splitlines() == [
        "page,window_start,window_end,views,bytes",
        "/docs/read,2026-03-01T12:00:00.000000Z,2026-03-01T13:00:00.000000Z,2,5120",
        "/,2026-03-01T13:00:00.000000Z,2026-03-01T14:00:00.000000Z,1,900",
    ]
    ((value, reason, detail),) = [
        (row["value"], row["reason"], row["detail"]) for row in rejected_rows(shell.stream)
    ]
    assert (value, reason) == (b"nonsense", "unreadable")
    assert detail == "1 fields; a line has 4: time, page, status, bytes"


def seen_by_hand(shell: Shell, code: str) -> None:
    process = shell.start("sh", code.replace("millrace run", "exec millrace run"))
    lines: list[str] = []
    assert process.stdout is not None
    for line in process.stdout:  # ends with the process
        lines.append(line)
        if "nonsense" in line or "unreadable" in line:
            process.send_signal(signal.SIGINT)
            break
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert re.search(r"/docs/read +2026-03-01 12:00 +2026-03-01 13:00 +2 +5120", "".join(lines) + out)
    assert "4 records, 1 of them rejected" in err


def test_no_block_of_the_page_is_left_out() -> None:
    assert len(BLOCKS) == 7
    assert len(re.findall(r"^```", TEXT, re.MULTILINE)) == 2 * len(BLOCKS)
