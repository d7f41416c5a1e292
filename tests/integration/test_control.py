"""Control on real parts: a supervisord stream host, an S3 server, processes that really die.

Only the driver is a stand-in (fake_driver.py), so that its faults can be chosen.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest
import yaml

from millrace.catalog import StreamSpec
from millrace.control import exit_codes
from millrace.control.attention import what_needs_attention
from millrace.control.desired import DesiredState, load_desired, write_desired
from millrace.control.epochs import newest_epoch
from millrace.control.follow import Arrival, follow
from millrace.control.launcher import StreamHost
from millrace.control.lives import MOST_LIVES, read_lives, write_lives
from millrace.control.order import give_order
from millrace.control.orders import read_orders
from millrace.control.outdated import config_of
from millrace.control.process import HostUnavailable, LauncherError, ProcessState
from millrace.control.reconcile import Reconciler
from millrace.control.status import DriverStatus, newest_status, read_statuses
from millrace.control.streamhost import (
    command,
    log_file,
    longest_stop,
    socket_file,
    stream_dir,
    write_config,
)
from millrace.control.watch import ControlWatch
from millrace.settings import PROJECT_ROOT, Settings
from millrace.store import S3Store, open_store
from tests.conftest import running, wait_until

pytestmark = pytest.mark.stack

SPEC = StreamSpec(
    name="bikes", app="fake_driver", source="kafka://t", dataset="d", stop_within=timedelta(seconds=5)
)
STARTS_WITHIN = 30.0


@dataclass
class Stage:
    """A stream host with one stream, and the ways to look at it and to hurt it."""

    settings: Settings
    store: S3Store
    host: StreamHost
    supervisord: subprocess.Popen[bytes]
    again: Callable[[], subprocess.Popen[bytes]]

    def deploy(self, state: str = "running", revision: int = 1, **config: object) -> None:
        current = load_desired(self.store, SPEC.name)
        wanted = DesiredState(
            state=state,
            spec_revision=revision,
            config=config_of(SPEC) | config,
            who="a test",
            why="to see",
            at=datetime.now(UTC),
        )
        write_desired(self.store, SPEC.name, wanted, replacing=current.etag if current else None)

    def start(self) -> DriverStatus:
        self.host.start(SPEC.name)
        return self.driver(after=0)

    def driver(self, after: int) -> DriverStatus:
        """The running driver of a greater epoch than `after`."""
        self.until(lambda: self.is_running(after), STARTS_WITHIN, f"a driver after epoch {after}")
        found = newest_status(self.store, SPEC.name)
        assert found is not None
        return found

    def is_running(self, after: int) -> bool:
        found = newest_status(self.store, SPEC.name)
        return found is not None and found.driver_epoch > after and found.state == "running"

    def fault(self, text: str) -> None:
        directory = stream_dir(self.settings.home, SPEC.name)
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "fault").write_text(text)

    def heal(self) -> None:
        (stream_dir(self.settings.home, SPEC.name) / "fault").unlink()

    def wait_for(self, state: ProcessState, within: float = STARTS_WITHIN) -> None:
        self.until(lambda: self.host.state(SPEC.name).state is state, within, f"the process to be {state}")

    def until(self, condition: Callable[[], object], within: float, what: str) -> None:
        try:
            wait_until(condition, within, what)
        except pytest.fail.Exception as failure:
            raise AssertionError(f"{failure}\n{self.host.state(SPEC.name)}\n{self.log()}") from None

    def log(self) -> str:
        path = log_file(self.settings.home, SPEC.name)
        return path.read_text() if path.exists() else ""


@pytest.fixture(scope="module")
def built(s3_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One stream host for all tests: starting one per test costs more than the tests."""
    directory = tmp_path_factory.mktemp("streamhost")
    # A short path: a unix socket's may have some 100 bytes, and pytest's directories are long.
    home = Path(tempfile.mkdtemp(prefix="millrace-"))
    settings = replace(s3_settings, home=home, prefix=f"control-{os.getpid()}")
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
    environment = {
        "PYTHONPATH": str(PROJECT_ROOT),
        "MILLRACE_HOME": str(home),
        "MILLRACE_S3_ENDPOINT": settings.s3_endpoint or "",
        "MILLRACE_BUCKET": settings.bucket,
        "MILLRACE_PREFIX": settings.prefix,
        "AWS_ACCESS_KEY_ID": settings.access_key or "",
        "AWS_SECRET_ACCESS_KEY": settings.secret_key or "",
    }
    host = StreamHost(socket_file(home))
    log = directory / "supervisord.log"
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        stack.callback(shutil.rmtree, home, ignore_errors=True)
        for name, value in environment.items():
            patch.setenv(name, value)

        def begin() -> subprocess.Popen[bytes]:
            process = stack.enter_context(running(command(config), log))
            wait_until(lambda: _answers(host), 15, "supervisord to answer")
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
        _end(status.pid)
    for info in list(built.store.list_objects("")):
        built.store.delete(info.key)
    shutil.rmtree(directory, ignore_errors=True)
    log_file(built.settings.home, SPEC.name).write_text("")


def _answers(host: StreamHost) -> bool:
    try:
        return bool(host.states())
    except HostUnavailable:
        return False


def _end(pid: int) -> None:
    """A driver that a test left behind, with its group; only if it is one."""
    if _is_driver(pid):
        os.killpg(pid, signal.SIGKILL)


def _is_driver(pid: int) -> bool:
    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and "spark_apps.fake_driver" in process.cmdline()
    except psutil.Error:
        return False


def _is_alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_a_deployed_stream_starts_and_keeps_its_process_id(stage):
    stage.deploy(state="running", revision=3)
    driver = stage.start()
    info = stage.host.state(SPEC.name)
    assert (driver.driver_epoch, driver.spec_revision) == (1, 3)
    assert (info.state, info.pid) == (ProcessState.RUNNING, driver.pid)
    stage.host.start(SPEC.name)
    assert stage.host.state(SPEC.name).pid == driver.pid, "starting what runs does no harm"
    assert psutil.Process(driver.pid).cmdline()[1:3] == ["-m", "spark_apps.fake_driver"]


def test_nobody_else_may_talk_to_the_host_and_its_files_hold_no_secret(stage):
    mode = stat.S_IMODE(socket_file(stage.settings.home).stat().st_mode)
    assert mode == 0o700
    stage.deploy()
    driver = stage.start()
    assert stage.settings.secret_key not in " ".join(psutil.Process(driver.pid).cmdline())
    for path in stage.settings.home.rglob("*"):
        if path.is_file():
            assert stage.settings.secret_key not in path.read_text(), path


def test_a_driver_that_is_killed_is_started_again_by_the_host(stage):
    stage.deploy()
    first = stage.start()
    os.kill(first.pid, signal.SIGKILL)
    second = stage.driver(after=first.driver_epoch)
    assert second.pid != first.pid
    assert stage.host.state(SPEC.name).pid == second.pid


def test_a_deliberate_end_is_final_for_the_host(stage):
    for epoch, code in enumerate(exit_codes.NOT_RESTARTED, start=1):
        stage.deploy(revision=epoch)
        stage.fault(f"exit {code}")
        stage.host.start(SPEC.name)
        stage.wait_for(ProcessState.EXITED)
        info = stage.host.state(SPEC.name)
        assert (info.exit_code, info.pid, newest_epoch(stage.store, SPEC.name)) == (code, None, epoch)


def test_a_crash_loop_is_left_to_airflow_after_a_few_lives(stage):
    stage.deploy()
    driver = stage.start()
    path = stream_dir(stage.settings.home, SPEC.name) / "lives.json"
    lives = read_lives(path)
    write_lives(path, replace(lives, begun=lives.begun * MOST_LIVES))
    os.kill(driver.pid, signal.SIGKILL)
    stage.until(
        lambda: stage.host.state(SPEC.name).exit_code == exit_codes.GAVE_UP,
        STARTS_WITHIN,
        "the host to give up",
    )
    assert "the stream host leaves it to Airflow" in stage.log()
    assert stage.host.state(SPEC.name).state is ProcessState.EXITED


def test_stopping_lets_the_driver_finish(stage):
    stage.deploy()
    driver = stage.start()
    stage.host.stop(SPEC.name, timedelta(seconds=10))
    ended = newest_status(stage.store, SPEC.name)
    assert (ended.driver_epoch, ended.state, ended.exit_code) == (driver.driver_epoch, "stopped", 0)
    assert stage.host.state(SPEC.name).state is ProcessState.STOPPED
    stage.host.stop(SPEC.name, timedelta(seconds=1))


def test_a_driver_that_does_not_stop_is_killed_with_its_whole_process_group(stage):
    stage.deploy()
    driver = stage.start()
    stage.fault("deaf")
    child = int((stream_dir(stage.settings.home, SPEC.name) / "child").read_text())
    stage.host.stop(SPEC.name, timedelta(seconds=1))
    wait_until(lambda: not _is_alive(child), 5, "the child to be gone")
    assert not _is_driver(driver.pid)
    assert stage.host.state(SPEC.name).state is ProcessState.STOPPED


def test_a_stop_in_the_store_ends_the_driver_without_anybody_else(stage):
    stage.deploy()
    stage.start()
    stage.deploy("stopped", revision=2)
    stage.wait_for(ProcessState.EXITED)
    assert stage.host.state(SPEC.name).exit_code == exit_codes.STOPPED
    stage.host.start(SPEC.name)
    stage.wait_for(ProcessState.EXITED)
    assert newest_epoch(stage.store, SPEC.name) == 1, "what is to be stopped does not even begin"


def test_the_host_ends_a_driver_that_hangs_after_a_stop_though_nobody_waits(stage):
    """As `millrace stream stop` without --wait, with the DAG paused: nobody looks again."""
    stage.deploy()
    driver = stage.start()
    stage.fault("deaf")
    stage.deploy("stopped", revision=2)
    began = datetime.now(UTC)
    stage.host.end(SPEC.name)
    assert datetime.now(UTC) - began < timedelta(seconds=2), "it does not wait"
    longest = longest_stop(SPEC).total_seconds()
    stage.wait_for(ProcessState.STOPPED, longest + 10)
    assert not _is_driver(driver.pid)
    stage.host.end(SPEC.name)


def test_what_cannot_be_run_ends_with_one_clear_line(stage):
    stage.host.start(SPEC.name)
    stage.wait_for(ProcessState.EXITED)
    assert stage.host.state(SPEC.name).exit_code == exit_codes.BAD_CONFIGURATION
    assert "has never been deployed: the store has no control/bikes/desired.json" in stage.log()
    assert len(stage.log().splitlines()) == 1


def test_a_stream_that_the_host_does_not_know_is_said_so(stage):
    with pytest.raises(LauncherError, match=r"does not know the stream 'orders'.*restart the stream host"):
        stage.host.start("orders")


def test_a_host_that_is_away_or_hangs_is_said_so_in_time(stage, tmp_path, monkeypatch):
    with pytest.raises(HostUnavailable, match="does not answer"):
        StreamHost(tmp_path / "nothing.sock").state(SPEC.name)
    monkeypatch.setattr("millrace.control.launcher.ANSWER_WITHIN", 0.2)
    deaf = stage.settings.home / "run" / "deaf.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(deaf))
        listener.listen()
        with pytest.raises(HostUnavailable, match="timed out"):
            StreamHost(deaf).state(SPEC.name)


def reconciler(stage: Stage) -> Reconciler:
    return Reconciler(stage.store, stage.host, SPEC, who="a test", jitter=lambda: 0.0)


def test_supervision_deploys_starts_and_leaves_alone_what_runs(stage):
    assert reconciler(stage).turn().action.kind == "start"
    driver = stage.driver(after=0)
    turn = reconciler(stage).turn()
    assert (turn.action.kind, turn.health.state, turn.health.healthy) == ("leave", "idle", True)
    assert stage.host.state(SPEC.name).pid == driver.pid


def by_order(stage: Stage, action: str, **changes: object) -> Arrival:
    """An order, carried out and seen through by whoever gave it, as with Airflow away."""
    spec = SPEC.model_copy(update=changes)
    given = give_order(
        stage.store,
        {SPEC.name: spec},
        SPEC.name,
        action,
        who="ada",
        why=f"to see {action}",
        check_reset=lambda spec: None,
    )
    return follow(replace(reconciler(stage), spec=spec), given, lambda message: None)


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


def test_after_the_host_was_killed_two_drivers_do_not_go_on_side_by_side(stage):
    stage.deploy()
    old = stage.start()
    stage.supervisord.kill()
    stage.supervisord.wait()
    assert _is_driver(old.pid), "a driver outlives its host"
    says = "the stream host that started it is gone"
    stage.until(lambda: says in str(needs(stage)), STARTS_WITHIN, "the watch to see it from the store alone")
    assert reconciler(stage).turn().action.kind == "wait", "as long as there is no host"
    stage.supervisord = stage.again()
    assert stage.host.state(SPEC.name).state is ProcessState.STOPPED
    turn = reconciler(stage).turn()
    assert turn.action.kind == "start"
    assert "fencing" in turn.action.reason
    new = stage.driver(after=old.driver_epoch)
    wait_until(lambda: not _is_driver(old.pid), 15, "the old driver to end itself")
    assert [one.state for one in read_statuses(stage.store, SPEC.name)] == ["fenced", "running"]
    assert stage.host.state(SPEC.name).pid == new.pid
    assert reconciler(stage).turn().action.kind == "leave"
    assert needs(stage) is None


def needs(stage: Stage) -> str | None:
    """Why the triggerer would call for somebody."""
    view = ControlWatch(stage.store).refresh().views[SPEC.name]
    return what_needs_attention(view, view.desired.spec_revision)


def test_a_driver_that_hangs_is_replaced(stage):
    stage.deploy()
    driver = stage.start()
    stage.fault("deaf")
    os.kill(driver.pid, signal.SIGSTOP)
    within = timedelta(seconds=1)
    stage.host.stop(SPEC.name, within)
    stage.heal()
    stage.host.start(SPEC.name)
    assert stage.driver(after=driver.driver_epoch).pid != driver.pid
    assert not _is_driver(driver.pid)
