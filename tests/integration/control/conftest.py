"""The real parts: a supervisord stream host, an S3 server, processes that really die."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from millrace.control.launcher import StreamHost
from millrace.control.status import read_statuses
from millrace.control.streamhost import command, log_file, socket_file, stream_dir, write_config
from millrace.local.ports import free_ports
from millrace.settings import PROJECT_ROOT, Settings
from millrace.store import open_store
from millrace.stream_host_access import PASSWORD, USERNAME, StreamHostAccess
from tests.conftest import running, wait_until
from tests.environment import environment_of
from tests.integration.control.stage import SPEC, Stage, answers, end


@pytest.fixture(scope="module")
def built(s3_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One stream host for all tests: starting one per test costs more than the tests."""
    directory = tmp_path_factory.mktemp("streamhost")
    # A short path: a unix socket's may have some 100 bytes, and pytest's directories are long.
    home = Path(tempfile.mkdtemp(prefix="millrace-"))
    network = StreamHostAccess(None, f"127.0.0.1:{free_ports(1)[0]}", "ada", "pass%word ;1")
    settings = replace(s3_settings, home=home, prefix=f"control-{os.getpid()}", stream_host=network)
    apps = directory / "spark_apps"
    apps.mkdir()
    (apps / "__init__.py").touch()
    shutil.copy(Path(__file__).with_name("fake_driver.py"), apps)
    (apps / "runtime").mkdir()
    (apps / "runtime" / "__init__.py").touch()
    shutil.copy(Path(__file__).with_name("fake_preflight.py"), apps / "runtime" / "preflight.py")
    config = write_config(settings, [SPEC])
    # Modules are looked for in the working directory first: there is the fake driver's package.
    config.write_text(config.read_text().replace(f"directory={PROJECT_ROOT}\n", f"directory={directory}\n"))
    host = StreamHost(socket_file(home))
    log = directory / "supervisord.log"
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        stack.callback(shutil.rmtree, home, ignore_errors=True)
        login = {USERNAME: network.username, PASSWORD: network.password}
        for name, value in (environment_of(settings) | login).items():
            patch.setenv(name, value)

        def begin() -> subprocess.Popen[bytes]:
            process = stack.enter_context(running(command(config), log))
            wait_until(lambda: answers(host), 15, "supervisord to answer")
            return process

        yield Stage(settings, open_store(settings), host, begin(), begin)


@pytest.fixture
def stage(built: Stage) -> Iterator[Stage]:
    """The stream host with nothing deployed and nothing running."""
    yield built
    directory = stream_dir(built.settings.home, SPEC.name)
    (directory / "fault").unlink(missing_ok=True)
    built.host.stop(SPEC.name, timedelta(seconds=0))
    for status in read_statuses(built.store, SPEC.name):
        end(status.pid)
    for info in list(built.store.list_objects("")):
        built.store.delete(info.key)
    shutil.rmtree(directory, ignore_errors=True)
    log_file(built.settings.home, SPEC.name).write_text("")
