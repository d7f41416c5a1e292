"""The form that changes what a stream should do, run by Airflow in this process.

The store is in memory; the stream host is a stand-in whose drivers do at once what they should.
"""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest

from millrace.catalog import load_catalog
from millrace.control.desired import DesiredState, read_desired
from millrace.control.orders import ACTIONS, read_orders
from millrace.control.outdated import config_of
from millrace.control.process import HostUnavailable, ProcessInfo, ProcessState
from millrace.control.status import DriverStatus, newest_status, write_status
from millrace.settings import PROJECT_ROOT
from millrace.store import MemoryStore
from millrace.supervision import Rules
from tests.dags.conftest import DAGS

STREAMS = load_catalog(PROJECT_ROOT / "catalog").streams
STREAM = "station_hourly"
_runs = itertools.count()


class Stage:
    """A store and a stream host."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.store.now = datetime.now(UTC)
        self.done: list[str] = []
        self.away = False
        self.answer = "idle"

    def deploy(self, state: str = "running") -> None:
        wanted = DesiredState(
            state=state,
            spec_revision=1,
            config=config_of(STREAMS[STREAM]),
            who="ada",
            why="a test",
            at=self.store.now,
        )
        self.store.put(f"control/{STREAM}/desired.json", wanted.to_body())
        self.report(1, state)

    def report(self, epoch: int, state: str, **more) -> None:
        wanted = read_desired(self.store, STREAM)
        fields = {
            "stream": STREAM,
            "driver_epoch": epoch,
            "spec_revision": wanted.spec_revision,
            "host": "here",
            "pid": epoch,
            "state": state,
            "started_at": self.store.now,
            "heartbeat_at": self.store.now,
            "lag": 0,
        }
        self.store.put(f"control/{STREAM}/epochs/{epoch:08d}.json", b"{}")
        write_status(self.store, DriverStatus.model_validate(fields | more))

    def state(self, stream: str) -> ProcessInfo:
        if self.away:
            raise HostUnavailable("the stream host does not answer")
        status = newest_status(self.store, stream)
        wanted = read_desired(self.store, stream)
        if status and status.state == "running" and wanted.state == "stopped":
            self.report(status.driver_epoch, "stopped", exit_code=0)
            status = newest_status(self.store, stream)
        alive = status is not None and status.state == "running"
        state = ProcessState.RUNNING if alive else ProcessState.EXITED
        pid = status.pid if alive else None
        return ProcessInfo(stream, state, pid, self.store.now, self.store.now, None if alive else 0)

    def start(self, stream: str) -> None:
        self._begin("start")

    def stop(self, stream: str, within: timedelta) -> None:
        self.done.append("stop")

    def restart(self, stream: str, within: timedelta) -> None:
        self._begin("restart")

    def _begin(self, what: str) -> None:
        self.done.append(what)
        epoch = newest_status(self.store, STREAM).driver_epoch if newest_status(self.store, STREAM) else 0
        if self.answer == "fails":
            self.report(epoch + 1, "failed", error="no such topic", exit_code=11)
        else:
            self.report(epoch + 1, "running")


@pytest.fixture
def stage(monkeypatch):
    from millrace_airflow import access

    made = Stage()
    monkeypatch.setattr(access, "store_of", lambda settings: made.store)
    monkeypatch.setattr(access, "launcher_of", lambda settings: made)
    monkeypatch.setattr("millrace.control.follow.LOOK_EVERY", 0.01)
    return made


@pytest.fixture(scope="module")
def dag():
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(dag_folder=str(DAGS / "stream_control.py")).dags["stream_control"]


@pytest.fixture
def submit(airflow_db, stage, dag):
    """Runs the DAG with a form's values: the state of its task and what it returned."""
    from airflow.models.taskinstance import TaskInstance
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session

    def submit(action: str, stream: str = STREAM, why: str = "to see"):
        when = datetime(2026, 2, 1, tzinfo=UTC) + timedelta(minutes=next(_runs))
        done = dag.test(logical_date=when, run_conf={"stream": stream, "action": action, "why": why})
        with create_session() as session:
            (task,) = session.query(TaskInstance).filter_by(run_id=done.run_id).all()
            xcoms = session.query(XComModel).filter_by(run_id=done.run_id, key="return_value").all()
            return str(task.state), [XComModel.deserialize_value(one) for one in xcoms]

    return submit


@pytest.fixture
def log(capsys, caplog):
    """What was logged so far; which of the two has it depends on whether Airflow has set up its logging."""
    printed: list[str] = []

    def log() -> str:
        printed.append(capsys.readouterr().out)
        return "".join(printed) + caplog.text

    return log


def test_the_form_knows_the_streams_and_the_actions_and_wants_a_reason(dag):
    params = dag.params
    assert params.get_param("stream").schema["enum"][: len(STREAMS)] == sorted(STREAMS), (
        "feeds come after them"
    )
    assert params.get_param("action").schema["enum"] == list(ACTIONS)
    from airflow.sdk.exceptions import AirflowException

    for why in ("", "   "):
        with pytest.raises((AirflowException, ValueError)):
            params.get_param("why").resolve(why)


def test_stop_and_start_are_carried_out_and_kept_with_who_when_and_why(submit, stage, log):
    stage.deploy()
    state, (result,) = submit("stop", why="the topic is moved")
    assert (state, read_desired(stage.store, STREAM).state, stage.done) == ("success", "stopped", [])
    assert result["says"] == f"{STREAM} is stopped"
    assert submit("start")[0] == "success"
    assert stage.done == ["start"]
    stop, start = (one.order for one in read_orders(stage.store, STREAM, newest=9))
    assert (stop.action, stop.why, start.action) == ("stop", "the topic is moved", "start")
    assert stop.who.startswith("dag_test (Airflow, stream_control, "), "the user who triggered the run"
    assert f"{STREAM}: stop ordered by dag_test" in log()
    assert f"to look at: the DAG stream__{STREAM}" in log()


@pytest.mark.parametrize("action", ["restart", "redeploy"])
def test_a_driver_is_followed_by_another_one(submit, stage, action):
    stage.deploy()
    state, (result,) = submit(action)
    assert (state, stage.done, newest_status(stage.store, STREAM).spec_revision) == (
        "success",
        ["restart"],
        2,
    )
    assert "is idle: driver epoch 2" in result["says"]


def test_what_is_refused_makes_the_task_red_and_changes_nothing(submit, stage, log):
    stage.deploy()
    before = dict(stage.store.objects)
    assert submit("start")[0] == "failed"
    assert stage.store.objects == before
    assert "start was refused, and nothing was changed: station_hourly runs already" in log()


def test_a_reset_asks_kafka_first_and_is_refused_when_it_does_not_answer(submit, stage, log, monkeypatch):
    monkeypatch.setattr("spark_apps.runtime.kafka_source.TopicOffsets.partitions", _away)
    stage.deploy()
    before = dict(stage.store.objects)
    assert submit("reset")[0] == "failed"
    assert stage.store.objects == before
    assert "Kafka does not answer. The stream goes on as it is" in log()


def _away(*_):
    raise ConnectionError("Kafka does not answer")


def test_a_driver_that_then_fails_makes_the_task_red_with_its_reason_and_the_order_stands(submit, stage, log):
    stage.deploy()
    stage.answer = "fails"
    assert submit("redeploy")[0] == "failed"
    assert "no such topic" in log()
    assert read_desired(stage.store, STREAM).spec_revision == 2


def test_clearing_a_run_orders_nothing_again(stage, dag):
    from airflow.sdk.exceptions import AirflowFailException
    from millrace_airflow import control_tasks

    class Again:
        try_number = 2

    stage.deploy()
    before = dict(stage.store.objects)
    with pytest.raises(AirflowFailException, match="trigger stream_control anew"):
        control_tasks.carry_out_order({"ti": Again(), "params": {}})
    assert stage.store.objects == before


def test_an_order_whose_task_is_killed_stands_and_supervision_goes_on_with_it(stage, monkeypatch):
    from millrace_airflow import control_tasks

    class Run:
        dag_id, run_id, triggering_user_name = "stream_control", "manual__1", None

    class First:
        try_number = 1

    class Killed(BaseException):
        pass

    def killed(*_, **__):
        raise Killed

    stage.deploy()
    monkeypatch.setattr("millrace.control.follow.follow", killed)
    form = {"stream": STREAM, "action": "restart", "why": "to see"}
    with pytest.raises(Killed):
        control_tasks.carry_out_order({"ti": First(), "dag_run": Run(), "params": form})
    wanted = read_desired(stage.store, STREAM)
    assert (wanted.state, wanted.spec_revision) == ("running", 2)
    assert wanted.who == "somebody whom Airflow does not name (Airflow, stream_control, manual__1)"
    from millrace.control.attention import what_needs_attention
    from millrace.control.view import read_view

    reason = what_needs_attention(read_view(stage.store, STREAM, stage.store.now, Rules()), 1)
    assert "changed its desired state to running (revision 2): to see" in reason
