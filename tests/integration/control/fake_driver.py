"""A driver without Spark, to inject faults into: it obeys the control objects as a real one does, and on
top of that whatever is written to the file `fault` beside its spec:

    exit <code>   end with that code      deaf    ignore SIGTERM and never end by itself
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from millrace import settings
from millrace.control import exit_codes
from millrace.control.desired import read_desired
from millrace.control.epochs import claim_epoch, newest_epoch
from millrace.control.own_host import OwnHost
from millrace.control.status import DriverStatus, write_status
from millrace.store import open_store

HEARTBEAT = 0.2

arguments = argparse.ArgumentParser()
arguments.add_argument("--spec", type=Path, required=True)
arguments.add_argument("--revision", type=int, required=True)
given = arguments.parse_args()
spec = json.loads(given.spec.read_text())
fault = given.spec.with_name("fault")
store = open_store(settings.load())
terminated = []
signal.signal(signal.SIGTERM, lambda *_: terminated.append(True))
# As a JVM: a child in the same process group that outlives its parent unless the group is killed.
child = subprocess.Popen(["sleep", "600"])
given.spec.with_name("child").write_text(str(child.pid))
epoch = claim_epoch(store, spec["name"], spec_revision=given.revision)
started_at = datetime.now(UTC)
host = OwnHost()


def say(state: str, exit_code: int | None = None) -> None:
    write_status(
        store,
        DriverStatus(
            stream=spec["name"],
            driver_epoch=epoch,
            spec_revision=given.revision,
            host=os.uname().nodename,
            pid=os.getpid(),
            state=state,
            started_at=started_at,
            heartbeat_at=datetime.now(UTC),
            lag=0,
            host_gone_at=host.gone_at(),
            exit_code=exit_code,
        ),
    )


def end(state: str, exit_code: int) -> None:
    say(state, exit_code)
    child.kill()
    sys.exit(exit_code)


while True:
    ordered = fault.read_text().split() if fault.exists() else []
    deaf = ordered == ["deaf"]
    if ordered[:1] == ["exit"]:
        end("failed", int(ordered[1]))
    if not deaf and terminated:
        end("stopped", exit_codes.STOPPED)
    if not deaf and newest_epoch(store, spec["name"], known=epoch) > epoch:
        end("fenced", exit_codes.FENCED)
    if not deaf and (wanted := read_desired(store, spec["name"])) and wanted.state == "stopped":
        end("stopped", exit_codes.STOPPED)
    say("running")
    time.sleep(HEARTBEAT)
