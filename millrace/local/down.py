"""Stopping the stack, in an order in which nothing is lost and nothing is left."""

from __future__ import annotations

import psutil

from millrace.local import feeds
from millrace.local.home import make_home, only_one
from millrace.local.marker import end, roots
from millrace.local.ports import answers
from millrace.local.programs import AIRFLOW_PROGRAMS, socket_file
from millrace.local.progress import Steps
from millrace.local.supervisor import Supervisor
from millrace.settings import Settings

ORDER: tuple[tuple[str, tuple[str, ...], float], ...] = (
    # Feeds have handed over what they fetched; then drivers finish their micro-batches while Airflow stops beside
    # them (left running, it would see the drivers go and start them again); the servers they need go last.
    ("Streams and Airflow", ("airflow-triggerer", "airflow-scheduler", "streamhost", *AIRFLOW_PROGRAMS), 130),
    ("S3 server", ("s3",), 30),
    ("Kafka", ("kafka",), 45),
)


WATCHERS = ("airflow-triggerer", "airflow-scheduler")


def down(settings: Settings, steps: Steps) -> None:
    """Stop everything of this home. Harmless when nothing runs. Raises StackError."""
    make_home(settings.home)
    with only_one(settings.home):
        stop_all(settings, steps)


def stop_all(settings: Settings, steps: Steps) -> None:
    """As `down`, for a caller that holds the home's lock already."""
    supervisor = Supervisor(settings.home)
    if supervisor.is_running():
        known = {state.name for state in supervisor.states()}
        with steps.step("Stopping: Feeds"):
            # Not waited for: only that Airflow does not start again what ends here.
            supervisor.stop_programs([p for p in WATCHERS if p in known], 0)
            feeds.end_all(settings)
        for title, programs, patience in ORDER:
            with steps.step(f"Stopping: {title}"):
                supervisor.stop_programs([p for p in dict.fromkeys(programs) if p in known], patience)
        supervisor.shut_down()
    sweep(settings, steps)
    socket_file(settings.home).unlink(missing_ok=True)


def sweep(settings: Settings, steps: Steps) -> None:
    """End what an earlier run left behind (after a kill -9 of its supervisord, say)."""
    supervisor = Supervisor(settings.home)
    left = supervisor.processes()
    if not left:
        return
    with steps.step("Ending what an earlier run left behind") as note:
        note(f"{len(left)} processes")
        supervisors = [process for process in left if _is_supervisord(process)]
        kafka, s3 = answers(settings.ports.kafka), answers(settings.ports.s3)
        # Supervisors first, or they would start again what is ended. Drivers are given their time by the stream
        # host, which is one; they can only finish their micro-batches while the servers they need are there.
        end(supervisors, patience=90 if kafka and s3 else 0)
        # Of the rest a server can end in order. Airflow's scheduler cannot any more (it logs into a pipe that is
        # gone) and has nothing that it could lose; nor has what talks to servers that are gone.
        end(roots(supervisor.processes()), patience=8 if kafka or s3 else 1)
        end(supervisor.processes(), patience=1)


def _is_supervisord(process: psutil.Process) -> bool:
    try:
        return "supervisor.supervisord" in process.cmdline()
    except psutil.Error:
        return False
