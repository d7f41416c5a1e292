from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from millrace.control.own_host import UNDER_SUPERVISORD, OwnHost
from tests.conftest import wait_until

CHILD = """
import sys, time
from millrace.control.own_host import OwnHost
host = OwnHost()
print(host.gone_at(), flush=True)
deadline = time.monotonic() + 60
while host.gone_at() is None and time.monotonic() < deadline:
    time.sleep(0.01)
first = host.gone_at()
open(sys.argv[1], "w").write(f"{first is not None} {first == host.gone_at()}")
"""
HOST = "import subprocess, sys; subprocess.run([sys.executable, *sys.argv[1:]])"


def test_who_outlives_its_host_knows_since_when(tmp_path: Path) -> None:
    said = tmp_path / "said"
    host = subprocess.Popen(
        [sys.executable, "-c", HOST, "-c", CHILD, str(said)],
        stdout=subprocess.PIPE,
        env=os.environ | {UNDER_SUPERVISORD: "1"},
    )
    assert host.stdout is not None
    assert host.stdout.readline() == b"None\n", "as long as the host lives"
    host.send_signal(signal.SIGKILL)
    host.wait()
    wait_until(lambda: said.exists() and said.read_text() != "", 60, "the child to see it")
    assert said.read_text() == "True True"
    host.stdout.close()


def test_who_was_started_by_hand_has_no_host_to_lose(monkeypatch) -> None:
    monkeypatch.delenv(UNDER_SUPERVISORD, raising=False)
    monkeypatch.setattr(os, "getppid", lambda: 1)
    own = OwnHost()
    monkeypatch.setattr(os, "getppid", lambda: 2)
    assert own.gone_at() is None
