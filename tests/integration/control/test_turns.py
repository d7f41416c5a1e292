"""Turns of supervision on a stream host."""

from __future__ import annotations

import pytest

from millrace.control.process import ProcessState
from millrace.control.status import read_statuses
from tests.conftest import wait_until
from tests.integration.control.stage import SPEC, STARTS_WITHIN, is_driver, needs, reconciler

pytestmark = pytest.mark.stack


def test_supervision_deploys_starts_and_leaves_alone_what_runs(stage):
    assert reconciler(stage).turn().action.kind == "start"
    driver = stage.driver(after=0)
    turn = reconciler(stage).turn()
    assert (turn.action.kind, turn.health.state, turn.health.healthy) == ("leave", "idle", True)
    assert stage.host.state(SPEC.name).pid == driver.pid


def test_after_the_host_was_killed_two_drivers_do_not_go_on_side_by_side(stage):
    stage.deploy()
    old = stage.start()
    stage.supervisord.kill()
    stage.supervisord.wait()
    assert is_driver(old.pid), "a driver outlives its host"
    says = "the stream host that started it is gone"
    stage.until(lambda: says in str(needs(stage)), STARTS_WITHIN, "the watch to see it from the store alone")
    assert reconciler(stage).turn().action.kind == "wait", "as long as there is no host"
    stage.supervisord = stage.again()
    assert stage.host.state(SPEC.name).state is ProcessState.STOPPED
    turn = reconciler(stage).turn()
    assert turn.action.kind == "start"
    assert "fencing" in turn.action.reason
    new = stage.driver(after=old.driver_epoch)
    wait_until(lambda: not is_driver(old.pid), 15, "the old driver to end itself")
    assert [one.state for one in read_statuses(stage.store, SPEC.name)] == ["fenced", "running"]
    assert stage.host.state(SPEC.name).pid == new.pid
    assert reconciler(stage).turn().action.kind == "leave"
    assert needs(stage) is None
