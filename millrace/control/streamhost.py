"""The stream host: a supervisord of its own with one constant program per stream and feed of the catalog.

supervisord takes neither programs nor arguments over its RPC, so each program is `millrace host exec
<stream>`, which asks the store what to run. Its RPC is the right to run commands as this user, so it
listens on a unix socket that only this user may open, and on a network only where it is told to, with a login
(stream_host_access.py). The configuration holds no secret: drivers inherit
the host's environment.
"""

from __future__ import annotations

import getpass
import os
import shlex
import sys
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

from millrace.catalog import StreamSpec
from millrace.control import exit_codes
from millrace.control.supervised import FEED_PREFIX, Supervised, is_feed
from millrace.settings import PROJECT_ROOT, Settings, SettingsError
from millrace.shared_drivers import SharedDriver, shared_drivers
from millrace.stream_host_access import PASSWORD, USERNAME, StreamHostAccess

LONGEST_SOCKET_PATH = 90
"""Systems allow 104 (macOS) or 108 bytes, and supervisord binds a longer name first."""
STOP_MARGIN = 15
"""Seconds that a driver gets beyond its own `stop_within` before its process group is killed."""


def socket_file(home: Path) -> Path:
    return home / "run" / "streamhost.sock"


def config_file(home: Path) -> Path:
    return home / "run" / "streamhost.conf"


def log_file(home: Path, stream: str) -> Path:
    """What a driver or a feed prints: the first place to look when it does not start."""
    return home / "logs" / (f"{stream}.log" if is_feed(stream) else f"stream-{stream}.log")


def stream_dir(home: Path, stream: str) -> Path:
    """A stream's or a feed's own files on this host: its spec, its count of lives, its checkpoint."""
    if is_feed(stream):
        return home / "feeds" / stream.removeprefix(FEED_PREFIX)
    return home / "streams" / stream


def longest_stop(spec: Supervised) -> timedelta:
    """From the host's SIGTERM to its SIGKILL of the process group."""
    return timedelta(seconds=round(spec.stop_within.total_seconds()) + STOP_MARGIN)


def shared_program(driver: str) -> str:
    """The program of a shared driver; no stream can have such a name."""
    return f"shared-{driver}"


def render_config(settings: Settings, streams: Iterable[Supervised]) -> str:
    """The supervisord configuration of a stream host, with a program for each stream and feed.

    Raises SettingsError when the state directory's path is too long for a unix socket.
    """
    home = settings.home
    if len(os.fsencode(socket_file(home))) > LONGEST_SOCKET_PATH:
        raise SettingsError(
            f"the path {home} is too long for a unix socket below it (more than {LONGEST_SOCKET_PATH} bytes "
            "in all): set MILLRACE_HOME to a shorter one"
        )
    known = sorted(streams, key=lambda one: one.name)
    sections = [_host(home), *_network(settings.stream_host)] + [_program(home, spec) for spec in known]
    drivers = shared_drivers(spec for spec in known if isinstance(spec, StreamSpec))
    sections += [_shared_program(home, driver) for driver in drivers.values()]
    return "\n".join(sections)


def write_config(settings: Settings, streams: Iterable[Supervised]) -> Path:
    """Write the configuration and make the directories that it names; returns its path."""
    path = config_file(settings.home)
    text = render_config(settings, streams)
    path.parent.mkdir(parents=True, exist_ok=True)
    log_file(settings.home, "any").parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def command(config: Path) -> list[str]:
    """The command line of a stream host in the foreground."""
    return [sys.executable, "-m", "supervisor.supervisord", "-n", "-c", str(config)]


def _host(home: Path) -> str:
    # supervisord run by root insists on hearing that this is meant.
    user = [f"user={_escaped(getpass.getuser())}"] if os.getuid() == 0 else []
    return "\n".join(
        [
            "; Written when the stream host starts; changes here are lost.",
            "[supervisord]",
            f"pidfile={_escaped(home / 'run' / 'streamhost.pid')}",
            f"logfile={_escaped(home / 'logs' / 'streamhost-supervisord.log')}",
            "logfile_maxbytes=5MB",
            "logfile_backups=1",
            "loglevel=info",
            f"childlogdir={_escaped(home / 'logs')}",
            "nodaemon=true",
            # Its standard output is a pipe to the stack's own supervisord. Should that one be killed, the
            # first line written there would end this one at once, and with it the orderly end of drivers.
            "silent=true",
            "umask=077",
            "identifier=millrace-streamhost",
            *user,
            "",
            "[unix_http_server]",
            f"file={_escaped(socket_file(home))}",
            "chmod=0700",
            "",
            "[rpcinterface:supervisor]",
            "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface",
            "",
        ]
    )


def _network(access: StreamHostAccess) -> list[str]:
    """The login comes from the host's environment: the file holds no secret."""
    if access.listen is None:
        return []
    lines = [
        "[inet_http_server]",
        f"port={_escaped(access.listen)}",
        f"username=%(ENV_{USERNAME})s",
        f"password=%(ENV_{PASSWORD})s",
        "",
    ]
    return ["\n".join(lines)]


def _program(home: Path, spec: Supervised) -> str:
    line = shlex.join([sys.executable, "-m", "millrace.commands.host", "exec", spec.name])
    return "\n".join(
        [
            f"[program:{spec.name}]",
            f"command={_escaped(line)}",
            f"directory={_escaped(PROJECT_ROOT)}",
            "autostart=false",
            "autorestart=unexpected",
            f"exitcodes={','.join(str(code) for code in exit_codes.NOT_RESTARTED)}",
            # With any other value supervisord ignores the exit code of what ends early, and starts a
            # driver with bad configuration again and again. How often is bounded in millrace.control.lives.
            "startsecs=0",
            "startretries=3",
            "stopsignal=TERM",
            f"stopwaitsecs={longest_stop(spec).total_seconds():.0f}",
            # Only the driver hears SIGTERM, so that it can finish its micro-batch with its JVM alive; when
            # time is up the whole group goes (the Python side outlives its JVM by seconds).
            "stopasgroup=false",
            "killasgroup=true",
            "redirect_stderr=true",
            f"stdout_logfile={_escaped(log_file(home, spec.name))}",
            "stdout_logfile_maxbytes=10MB",
            "stdout_logfile_backups=3",
            "",
        ]
    )


def _shared_program(home: Path, driver: SharedDriver) -> str:
    name = shared_program(driver.name)
    line = shlex.join([sys.executable, "-m", "spark_apps.runtime.shared_driver", driver.name])
    return "\n".join(
        [
            f"[program:{name}]",
            f"command={_escaped(line)}",
            f"directory={_escaped(PROJECT_ROOT)}",
            # The handle of a stream has it started, also after a crash: one restarter, whose lives are counted.
            "autostart=false",
            "autorestart=false",
            "startsecs=0",
            # Ended last, when the handles have stopped their streams.
            "priority=900",
            "stopsignal=TERM",
            f"stopwaitsecs={round(driver.stop_within) + 2 * STOP_MARGIN}",
            "stopasgroup=false",
            "killasgroup=true",
            "redirect_stderr=true",
            f"stdout_logfile={_escaped(log_file(home, name))}",
            "stdout_logfile_maxbytes=10MB",
            "stdout_logfile_backups=3",
            "",
        ]
    )


def _escaped(value: object) -> str:
    """supervisord expands % and takes ' ;' for the beginning of a comment."""
    return str(value).replace("%", "%%").replace(" ;", " \\;")
