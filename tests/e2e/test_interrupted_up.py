"""An `up` that is broken off. A home of its own, and named to come before the platform of the other tests is up."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from millrace.local.marker import processes_of
from millrace.local.supervisor import Supervisor
from tests.conftest import wait_until
from tests.e2e.conftest import fresh_environment

pytestmark = pytest.mark.stack


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_up_leaves_nothing_running(jars: None, number: signal.Signals) -> None:
    with tempfile.TemporaryDirectory(prefix="mr-") as name:
        home = Path(name)
        process = subprocess.Popen(
            [sys.executable, "-m", "millrace", "up"],
            env=fresh_environment(home),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            wait_until(lambda: len(processes_of(home)) >= 3, 60, "the first programs to run")
        finally:
            process.send_signal(number)
            output, _ = process.communicate(timeout=120)
        assert process.returncode == 130, output
        assert "Traceback" not in output
        assert Supervisor(home).processes() == []
