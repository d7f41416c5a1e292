"""The programs of the stack, and the supervisord configuration that runs them."""

from __future__ import annotations

import getpass
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from millrace.local.errors import StackError
from millrace.settings import PROJECT_ROOT, Settings

LONGEST_SOCKET_PATH = 90
"""Systems allow 104 (macOS) or 108 bytes, and supervisord binds a name with its process id appended first."""


MISREAD = {
    ",": "where Kafka begins another directory",
    "\\": "which Kafka and the S3 server leave out",
    "?": "where the address of Airflow's database ends",
}


@dataclass(frozen=True)
class Program:
    """One supervised program, always started again. `stop_within`: seconds from SIGTERM to SIGKILL of its whole
    process group."""

    name: str
    command: Sequence[str]
    stop_within: int = 15
    port: int | None = None
    what: str = ""


NAMES = (
    "kafka",
    "s3",
    "airflow-api-server",
    "airflow-scheduler",
    "airflow-dag-processor",
    "airflow-triggerer",
    "streamhost",
)
"""In the order in which they start."""

AIRFLOW_PROGRAMS = tuple(name for name in NAMES if name.startswith("airflow-"))


def order_of(program: str) -> tuple[int, str]:
    """Sorts programs as they start."""
    return NAMES.index(program) if program in NAMES else len(NAMES), program


def stack_programs(
    settings: Settings,
    kafka_command: Sequence[str],
    s3_command: Sequence[str],
) -> list[Program]:
    """Every program of the stack, in the order in which they start."""
    python = sys.executable
    ports = settings.ports

    def airflow(*arguments: str) -> list[str]:
        return [python, "-m", "airflow", *arguments]

    return [
        Program("kafka", kafka_command, stop_within=30, port=ports.kafka, what="topics"),
        Program("s3", s3_command, port=ports.s3, what="object store"),
        Program(
            "airflow-api-server",
            airflow("api-server", "--host", "127.0.0.1", "--port", str(ports.airflow), "--workers", "1"),
            port=ports.airflow,
            what="web page and API",
        ),
        Program(
            "airflow-scheduler",
            airflow("scheduler", "--skip-serve-logs"),
            stop_within=30,
            what="runs DAGs",
        ),
        Program("airflow-dag-processor", airflow("dag-processor"), what="reads DAG files"),
        Program(
            "airflow-triggerer",
            airflow("triggerer", "--skip-serve-logs"),
            what="watches streams",
        ),
        Program(
            "streamhost",
            [python, "-m", "millrace.commands.host", "run"],
            stop_within=100,  # longer than a driver's own time to finish its micro-batch
            what="Spark drivers and feeds",
        ),
    ]


def run_dir(home: Path) -> Path:
    return home / "run"


def log_dir(home: Path) -> Path:
    return home / "logs"


def config_file(home: Path) -> Path:
    return run_dir(home) / "stack.conf"


def socket_file(home: Path) -> Path:
    return run_dir(home) / "stack.sock"


def check_path(home: Path) -> None:
    """Raises StackError when the home's path cannot be used: too long for a unix socket in it, or with what
    supervisord's configuration has no way to write."""
    for path in (home, PROJECT_ROOT):
        if " ;" in str(path) or "%" in str(path) or not str(path).isprintable():
            raise StackError(
                f"the path {str(path)!r} has ' ;', '%' or a control character in it, which supervisord takes "
                "for something else: use another place"
            )
    if found := next((sign for sign in MISREAD if sign in str(home)), None):
        raise StackError(f"the path {str(home)!r} has {found!r} in it, {MISREAD[found]}: use another place")
    longest = run_dir(home) / "streamhost.sock"
    if len(os.fsencode(longest)) > LONGEST_SOCKET_PATH:
        raise StackError(
            f"the path {home} is too long for a socket in it (at most {LONGEST_SOCKET_PATH} bytes for "
            f"{longest.relative_to(home)} below it): choose a shorter one with MILLRACE_HOME"
        )


def render_config(home: Path, programs: Sequence[Program]) -> str:
    """The text of stack.conf. No program starts by itself: `millrace up` knows the order. No TCP, no secret."""
    lines = [
        "; Written by `millrace up`; changes here are lost.",
        "[supervisord]",
        f"pidfile={_value(run_dir(home) / 'stack.pid')}",
        f"logfile={_value(log_dir(home) / 'supervisord.log')}",
        "logfile_maxbytes=5MB",
        "logfile_backups=1",
        "loglevel=info",
        f"directory={_value(PROJECT_ROOT)}",
        f"childlogdir={_value(log_dir(home))}",
        "nodaemon=true",
        "silent=true",
        "umask=077",
        "identifier=millrace",
        *([f"user={_value(getpass.getuser())}"] if os.getuid() == 0 else []),
        "",
        "[unix_http_server]",
        f"file={_value(socket_file(home))}",
        "chmod=0700",
        "",
        "[rpcinterface:supervisor]",
        "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface",
    ]
    for program in programs:
        lines += [
            "",
            f"[program:{program.name}]",
            f"command={_value(shlex.join(program.command))}",
            "autostart=false",
            "autorestart=true",
            "startsecs=3",
            "startretries=3",
            "stopsignal=TERM",
            f"stopwaitsecs={program.stop_within}",
            "killasgroup=true",
            "redirect_stderr=true",
            f"stdout_logfile={_value(log_dir(home) / f'{program.name}.log')}",
            "stdout_logfile_maxbytes=10MB",
            "stdout_logfile_backups=2",
        ]
    return "\n".join(lines) + "\n"


def _value(value: object) -> str:
    """supervisord expands %."""
    return str(value).replace("%", "%%")
