"""Orders of a person, carried out on a stream host and seen through."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from datetime import timedelta

import pytest
import yaml

from millrace.catalog import StreamSpec
from millrace.control.desired import load_desired
from millrace.control.orders import read_orders
from millrace.control.outdated import config_of
from millrace.control.status import read_statuses
from millrace.control.streamhost import (
    stream_dir,
)
from millrace.settings import PROJECT_ROOT
from tests.integration.control.stage import SPEC, by_order, reconciler

pytestmark = pytest.mark.stack


def test_start_stop_restart_and_redeploy_by_order(stage):
    assert by_order(stage, "start").kind == "reached"
    first = stage.driver(after=0)
    assert by_order(stage, "restart").kind == "reached"
    second = stage.driver(after=1)
    assert (second.driver_epoch, second.spec_revision, second.pid == first.pid) == (2, 2, False)
    assert by_order(stage, "redeploy", trigger=timedelta(seconds=9)).kind == "reached"
    deployed = stream_dir(stage.settings.home, SPEC.name) / "spec.json"
    assert StreamSpec.model_validate_json(deployed.read_text()).trigger == timedelta(seconds=9)
    stopped = by_order(stage, "stop")
    assert (stopped.kind, stopped.says) == ("reached", "bikes is stopped")
    assert stage.host.state(SPEC.name).pid is None
    assert by_order(stage, "start").kind == "reached"
    lives = [(one.state, one.exit_code) for one in read_statuses(stage.store, SPEC.name)]
    assert lives == [("stopped", 0)] * 3 + [("running", None)], "each ended by itself, after its micro-batch"
    kept = [
        (one.order.action, one.order.who, one.order.why)
        for one in read_orders(stage.store, SPEC.name, newest=9)
    ]
    assert kept == [
        (action, "ada", f"to see {action}") for action in ("start", "restart", "redeploy", "stop", "start")
    ]


def test_a_redeploy_that_is_refused_leaves_the_old_version_in_force(stage):
    assert by_order(stage, "start").kind == "reached"
    refused = by_order(stage, "redeploy", trigger=timedelta(seconds=13), description="refuse")
    assert (refused.kind, refused.says) == (
        "failed",
        "bikes was not redeployed: the new version is refused: as it was told to. The old configuration is started "
        "again",
    )
    back = stage.driver(after=1)
    desired = load_desired(stage.store, SPEC.name).desired
    assert (desired.state, desired.spec_revision, desired.config) == ("running", 3, config_of(SPEC))
    assert (desired.who, desired.why) == (
        "preflight",
        "the redeploy of revision 2 (ada: to see redeploy) was refused",
    )
    assert (back.driver_epoch, back.spec_revision) == (2, 3), "the refused version never began"
    orders = read_orders(stage.store, SPEC.name, newest=9)
    assert [(one.order.spec_revision, one.order.who) for one in orders] == [
        (1, "ada"),
        (2, "ada"),
        (3, "preflight"),
    ]
    assert orders[1].outcome.outcome == "refused"
    turn = reconciler(stage).turn()
    assert turn.action.kind == "leave", "supervision is content with what runs"
    stage.fault("preflight dies")
    refused = by_order(stage, "redeploy", trigger=timedelta(seconds=14))
    assert (refused.kind, "its code does not run (exit 1): boom" in refused.says) == ("failed", True), refused
    stage.heal()
    stage.driver(after=back.driver_epoch)
    assert by_order(stage, "redeploy", trigger=timedelta(seconds=15)).kind == "reached"
    assert load_desired(stage.store, SPEC.name).desired.config["trigger"] == "15s"


def test_the_command_says_what_it_did_and_how_the_stream_is(stage):
    catalog = stage.settings.home / "catalog"
    shutil.rmtree(catalog, ignore_errors=True)
    shutil.copytree(PROJECT_ROOT / "catalog", catalog)
    entry = config_of(SPEC) | {"dataset": "hourly_summary"}
    kept = {key: value for key, value in entry.items() if key in ("app", "source", "dataset", "stop_within")}
    (catalog / "streams.yaml").write_text(
        yaml.safe_dump({SPEC.name: kept | {"source": "kafka://station_polls"}})
    )
    datasets = yaml.safe_load((catalog / "datasets.yaml").read_text())
    datasets = {"hourly_summary": datasets["hourly_summary"] | {"writers": [SPEC.name]}}
    (catalog / "datasets.yaml").write_text(yaml.safe_dump(datasets))

    def stream(*arguments: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "millrace", "stream", *arguments],
            cwd=PROJECT_ROOT,
            env=os.environ | {"MILLRACE_CATALOG": str(catalog)},
            capture_output=True,
            text=True,
            timeout=120,
        )
        return done.returncode, done.stdout + done.stderr

    assert stream("status", "bikes")[0] == 1
    code, said = stream("start", "bikes", "--why", "first", "--wait")
    assert (code, "bikes: start ordered (revision 1)" in said, "bikes is idle" in said) == (0, True, True), (
        said
    )
    code, said = stream("start", "bikes")
    assert (code, "refused: bikes runs already" in said) == (1, True), said
    code, said = stream("status", "bikes")
    assert code == 0, said
    assert "desired               running (revision 1), by " in said
    assert "process               RUNNING, pid " in said
    code, said = stream("stop", "bikes", "--why", "night", "--wait")
    assert (code, said.splitlines()[-1]) == (0, "bikes is stopped"), said
    code, said = stream("history", "bikes")
    assert code == 0
    assert [line.split()[2] for line in said.splitlines()[1:3]] == ["start", "stop"]
    assert "stopped (stopped as asked)" in said
    assert stream("stop", "nothing")[0] == 1
