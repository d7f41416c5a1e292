"""A preflight in a process of its own: what it may say, how long it may take, and that nothing is left of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import psutil
import pytest

from millrace.control.try_version import Tried, try_version
from millrace.settings import PROJECT_ROOT
from tests.conftest import wait_until

PATIENT = timedelta(minutes=5)
HANGS = "import pathlib, os, time; pathlib.Path('pid').write_text(str(os.getpid())); time.sleep(600)"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory whose code has a preflight of the test's own."""
    package = tmp_path / "spark_apps" / "runtime"
    package.mkdir(parents=True)
    for directory in (package, package.parent):
        (directory / "__init__.py").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def preflight(here: Path, program: str) -> Path:
    (here / "spark_apps" / "runtime" / "preflight.py").write_text(program)
    return here / "spec.json"


@pytest.mark.parametrize(
    ("program", "outcome", "words"),
    [
        ('print(\'chatter\'); print(\'{"passed": true, "says": "fine"}\')', "done", "fine"),
        ('print(\'{"passed": false, "says": "no"}\')', "refused", "no"),
        ('print(\'{"passed": null, "says": "away"}\')', "later", "away"),
        (
            "import no_such_module",
            "refused",
            "its code does not run (exit 1): ModuleNotFoundError: No module named 'no_such_module'",
        ),
        (
            "import os; os.kill(os.getpid(), 9)",
            "refused",
            "its code does not run (killed by signal 9): it said nothing",
        ),
    ],
)
def test_a_version_that_cannot_even_say_why_is_refused(
    here: Path, program: str, outcome: str, words: str
) -> None:
    assert try_version(preflight(here, program), PATIENT) == Tried(outcome, words)


def test_one_that_takes_too_long_is_refused_and_ended(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("millrace.control.try_version.BEAT_EVERY", 0.1)
    beats: list[float] = []
    tried = try_version(preflight(here, HANGS), timedelta(seconds=3), beats.append)
    assert tried == Tried("refused", "to try it did not end within 3 s (preflight_within)")
    assert len(beats) > 3
    assert beats == sorted(beats)
    pid = here / "pid"
    assert not pid.exists() or not psutil.pid_exists(int(pid.read_text()))


def test_nothing_of_it_is_left_when_whoever_tries_it_is_told_to_end(here: Path) -> None:
    preflight(here, HANGS)
    trying = (
        f"import sys; sys.path.insert(0, {str(PROJECT_ROOT)!r})\n"
        "from datetime import timedelta\nfrom pathlib import Path\n"
        "from millrace.commands.host import _ended_by_sigterm\n"
        "from millrace.control.execute import Ended\n"
        "from millrace.control.try_version import try_version\n"
        "try:\n"
        "    with _ended_by_sigterm('bikes'):\n"
        "        try_version(Path('spec.json'), timedelta(minutes=5))\n"
        "except Ended as ended:\n"
        "    sys.exit(40 + ended.exit_code)\n"
    )
    with subprocess.Popen([sys.executable, "-c", trying], cwd=here) as process:
        pid = here / "pid"
        wait_until(lambda: pid.exists() and pid.read_text(), 60, "the preflight to begin")
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 40
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)
