"""A stream host in another container: the same one, through a network, for those who have its login."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from unittest.mock import ANY

import psutil
import pytest

from millrace.control.launcher import StreamHost
from millrace.control.process import HostUnavailable, LauncherError
from millrace.control.status import newest_status
from millrace.local.ports import free_ports
from tests.integration.control.stage import SPEC, Stage

pytestmark = pytest.mark.stack


def remote(of: Stage, **changes: str) -> StreamHost:
    """The same host, through its network."""
    access = of.settings.stream_host
    return StreamHost(replace(access, **({"at": access.listen} | changes)))


def test_over_a_network_it_is_the_same_host(stage: Stage) -> None:
    stage.deploy()
    host = remote(stage)
    host.start(SPEC.name)
    driver = stage.driver(after=0)
    assert host.state(SPEC.name) == replace(stage.host.state(SPEC.name), host_now=ANY)
    host.stop(SPEC.name, timedelta(seconds=30))
    assert newest_status(stage.store, SPEC.name).state == "stopped"
    assert not psutil.pid_exists(driver.pid)


def test_over_a_network_a_driver_that_does_not_end_is_killed(stage: Stage) -> None:
    stage.deploy()
    stage.fault("deaf")
    driver = stage.start()
    remote(stage).stop(SPEC.name, timedelta(seconds=0.5))
    assert not psutil.pid_exists(driver.pid)


def test_without_the_right_login_nothing_is_done(stage: Stage) -> None:
    with pytest.raises(LauncherError, match="refuses this login; MILLRACE_STREAMHOST_USERNAME and"):
        remote(stage, password="guessed").start(SPEC.name)
    assert stage.host.state(SPEC.name).pid is None


def test_a_host_that_is_away_is_said_so_with_its_place(stage: Stage) -> None:
    nobody = f"127.0.0.1:{free_ports(1)[0]}"
    with pytest.raises(HostUnavailable, match=f"does not answer on {nobody}"):
        remote(stage, at=nobody).states()
