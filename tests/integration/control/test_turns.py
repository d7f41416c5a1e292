"""Turns of supervision on a stream host."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import psutil
import pytest

from millrace.control.desired import load_desired
from millrace.control.preflight import observe_preflight
from millrace.control.process import ProcessState
from millrace.control.status import newest_status, read_statuses
from millrace.supervision import HealthRules
from tests.conftest import wait_until
from tests.integration.control.stage import SPEC, STARTS_WITHIN, by_order, is_driver, needs, reconciler

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


def test_a_preflight_that_takes_longer_than_a_start_is_left_alone(stage):
    assert by_order(stage, "start").kind == "reached"
    stage.fault("preflight waits")
    # Shorter than the catalog lets anybody write, so that what takes longer than a start need not be waited for long.
    quick = {"health": HealthRules.model_construct(start_within=timedelta(seconds=2))}
    with ThreadPoolExecutor(1) as pool:
        arriving = pool.submit(by_order, stage, "redeploy", trigger=timedelta(seconds=9), **quick)

        def tried_for() -> float:
            seen = observe_preflight(stage.store, SPEC.name)
            return seen.preflight.for_seconds if seen is not None else 0

        stage.until(lambda: tried_for() > 5, 120, "a preflight of 5 s")
        spec = SPEC.model_copy(update=quick)
        turn = replace(reconciler(stage), spec=spec).turn()
        assert (turn.action.kind, turn.health.state) == ("wait", "trying"), turn
        assert "the new version of revision 2 is tried on the state, for " in turn.action.reason
        process = stage.host.state(SPEC.name)
        stage.heal()
        assert arriving.result().kind == "reached"
    driver = newest_status(stage.store, SPEC.name)
    assert (driver.driver_epoch, driver.spec_revision, driver.pid) == (2, 2, process.pid), "the same process"


def test_a_preflight_that_takes_too_long_is_refused_and_the_old_version_goes_on(stage):
    assert by_order(stage, "start").kind == "reached"
    stage.fault("preflight waits")
    refused = by_order(
        stage, "redeploy", trigger=timedelta(seconds=9), preflight_within=timedelta(seconds=10)
    )
    assert (refused.kind, refused.says) == (
        "failed",
        "bikes was not redeployed: the new version is refused: to try it did not end within 10 s "
        "(preflight_within). The old configuration is started again",
    )
    back = stage.driver(after=1)
    assert (back.driver_epoch, back.spec_revision) == (2, 3)
    desired = load_desired(stage.store, SPEC.name).desired
    assert (desired.who, desired.config["trigger"]) == ("preflight", "5s")
    preflights = [one for one in psutil.process_iter() if "spark_apps.runtime.preflight" in _words_of(one)]
    assert not any(str(stage.settings.home) in " ".join(_words_of(one)) for one in preflights)
    assert reconciler(stage).turn().action.kind == "leave"


def _words_of(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
