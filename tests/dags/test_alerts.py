"""Alerts on their whole way: from a stream in trouble through the task to a real HTTP receiver, once each."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta

import pytest

from millrace.control.history import load_history
from millrace.supervision import AlertRules
from tests.dags.supervised_world import SPEC, STREAM, Shift, World, running_shift
from tests.webhook import Receiver, receiving

ALERTED = SPEC.model_copy(update={"alerts": AlertRules(connection="team_chat")})
KEY = "s3cretkey"


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    with receiving(KEY) as server:
        connection = {"conn_type": "apprise", "extra": server.connection}
        monkeypatch.setenv("AIRFLOW_CONN_TEAM_CHAT", json.dumps(connection))
        yield server


def wake(shift: Shift) -> Shift:
    """What the trigger sees to, until it has nothing more to say."""
    return shift.resume(shift.wait())


def in_trouble(shift: Shift, world: World) -> None:
    """A stream that was well is stalled."""
    running_shift(shift, world)
    world.later(60)
    world.report(lag=9, still_seconds=300)
    wake(shift)


def test_each_trouble_is_told_once_and_so_is_the_recovery(dag, world, receiver, capsys):
    shift = Shift(dag, ALERTED)
    in_trouble(shift, world)
    assert receiver.titles == [f"Millrace: {STREAM} is stalled"]
    (message,) = receiver.got
    assert message["type"] == "warning"
    assert "9 records wait and nothing has moved for 5 min" in message["message"]
    assert f"`millrace stream status {STREAM}`" in message["message"]
    for _ in range(30):
        world.later(60)
        world.report(lag=9, still_seconds=300)
        shift.resume({"kind": "attention", "reason": "a look"})
    assert len(receiver.got) == 1, "once, not once a minute"
    world.report()
    wake(shift)
    assert "recovered after 30 min; it was stalled" in capsys.readouterr().out
    assert len(receiver.got) == 1, "it may be gone again in a moment"
    world.later(120)
    world.report()
    wake(shift)
    assert receiver.titles[1:] == [f"Millrace: {STREAM} has recovered"]
    assert receiver.got[1]["type"] == "success"
    kept = load_history(world.store, STREAM).history.alerts
    assert [(one.kind, one.sent) for one in kept] == [("stalled", True), ("recovered", True)]


def test_another_task_after_a_restart_of_everything_repeats_nothing(dag, world, receiver):
    in_trouble(Shift(dag, ALERTED), world)
    for _ in range(3):
        world.later(600)
        world.report(lag=9, still_seconds=900)
        Shift(dag, ALERTED).begin()
    assert len(receiver.got) == 1


def test_a_driver_that_is_down_and_an_open_circuit_are_told_at_their_time(dag, world, receiver, monkeypatch):
    shift = Shift(dag, ALERTED)
    running_shift(shift, world)
    monkeypatch.setattr(world, "start", lambda stream: world.orders.append("start"))
    world.report("failed", error="no such topic", exit_code=11)
    world.pid = None
    began = world.store.now
    told = {}
    while world.store.now - began < timedelta(hours=1):
        shift.resume({"kind": "attention", "reason": "a look"})
        for title in receiver.titles:
            told.setdefault(title, (world.store.now - began).total_seconds())
        world.later(10)
    assert list(told) == [f"Millrace: {STREAM} is down", f"Millrace: {STREAM} fails again and again"]
    assert len(receiver.got) == 2
    down, circuit = told.values()
    assert 120 <= down <= 130
    assert 900 <= circuit <= 1500
    assert "no such topic" in receiver.got[0]["message"]
    assert "12 starts in a row did not last" in receiver.got[1]["message"]


def test_a_notifier_that_fails_harms_nothing_and_is_told_without_the_address(dag, world, receiver, capsys):
    receiver.status = 500
    shift = Shift(dag, ALERTED)
    in_trouble(shift, world)
    assert shift.deferred, "supervision goes on"
    log = capsys.readouterr().out
    assert "alert NOT sent (try 1): stalled" in log
    assert KEY not in log
    receiver.status = 200
    world.later(60)
    world.report(lag=9, still_seconds=400)
    wake(shift)
    assert receiver.titles == [f"Millrace: {STREAM} is stalled"]
    (kept,) = load_history(world.store, STREAM).history.alerts
    assert (kept.tries, kept.sent, kept.problem) == (2, True, None)


@pytest.mark.parametrize(
    ("connection", "words"),
    [
        (None, "there is no Airflow connection 'team_chat'"),
        ({"conn_type": "apprise"}, "the Airflow connection 'team_chat' has no usable `config`"),
        (
            {"conn_type": "apprise", "extra": {"config": {"path": f"nosuch://{KEY}"}}},
            "apprise understands none of the URLs in the connection 'team_chat'",
        ),
    ],
)
def test_a_connection_that_cannot_be_used_is_named(dag, world, monkeypatch, capsys, connection, words):
    monkeypatch.delenv("AIRFLOW_CONN_TEAM_CHAT", raising=False)
    if connection is not None:
        monkeypatch.setenv("AIRFLOW_CONN_TEAM_CHAT", json.dumps(connection))
    shift = Shift(dag, ALERTED)
    in_trouble(shift, world)
    assert shift.deferred
    log = capsys.readouterr().out
    assert words in log
    assert KEY not in log


def test_the_words_of_a_driver_are_not_rendered_as_a_template(dag, world, receiver):
    shift = Shift(dag, ALERTED)
    running_shift(shift, world)
    world.report("failed", error="{{ var.value.password }} {% boom %}", exit_code=11)
    world.pid = None
    for _ in range(14):
        shift.resume({"kind": "attention", "reason": "a look"})
        world.pid = None
        world.later(10)
    assert "{{ var.value.password }} {% boom %}" in receiver.got[0]["message"]


def test_without_the_block_in_the_catalog_nothing_is_sent_or_noted(dag, world, receiver):
    in_trouble(Shift(dag), world)
    assert (receiver.got, load_history(world.store, STREAM).history.alerts) == ([], ())
