"""What Airflow says of itself, and what it means: green health with nothing behind it is found out."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from millrace.doctor.airflow import BY_HAND, BY_SCHEDULE, COMPONENTS, AirflowFacts, Deferred, judge
from millrace.doctor.airflow_config import Option, execution_api_url, judge_answer, judge_config

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
GOOD = AirflowFacts(
    health=dict.fromkeys(COMPONENTS, "healthy"),
    dags=dict.fromkeys((*BY_SCHEDULE, *BY_HAND, "stream__orders", "stream__words", "feed__market"), False),
    pool_slots=1,
    deferred=[Deferred("stream__orders", taken=True, since=NOW - timedelta(minutes=50))],
    succeeded=3,
)


def bad(facts: AirflowFacts, *, atomic: bool = False) -> list[tuple[str, str]]:
    found = judge(facts, ["orders", "words", "feed-market"], ["orders"], NOW, atomic=atomic)
    return [(one.level, one.says) for one in found if one.level != "fine"]


def test_an_airflow_at_work_is_fine() -> None:
    assert bad(GOOD) == []


def test_a_triggerer_that_is_not_there_is_an_error() -> None:
    assert bad(replace(GOOD, health={**GOOD.health, "triggerer": None})) == [
        ("error", "its triggerer is not there")
    ]


def test_what_is_paused_is_told_with_its_consequence() -> None:
    facts = replace(
        GOOD, dags={**GOOD.dags, "compact_hourly": True, "stream__orders": True, "stream__words": True}
    )
    assert bad(facts) == [
        ("warning", "compact_hourly is paused: no hour is published"),
        ("warning", "paused: stream__orders; these streams go unwatched"),
    ]


def test_dags_that_it_does_not_know_are_an_error() -> None:
    dags = {name: paused for name, paused in GOOD.dags.items() if name != "stream__orders"}
    assert bad(replace(GOOD, dags=dags)) == [("error", "it does not know stream__orders")]


@pytest.mark.parametrize(
    ("slots", "atomic", "level"),
    [(None, False, "error"), (0, True, "error"), (5, False, "error"), (5, True, None), (1, False, None)],
)
def test_the_pool_must_suit_the_store(slots: int | None, atomic: bool, level: str | None) -> None:
    assert [one for one, _ in bad(replace(GOOD, pool_slots=slots), atomic=atomic)] == (
        [level] if level else []
    )


def test_tasks_that_never_began_are_an_error_when_none_did() -> None:
    facts = replace(GOOD, never_began=["compact_hourly.plan", "compact_hourly.plan"], succeeded=0)
    ((level, says),) = bad(facts)
    assert (level, "before they began: compact_hourly.plan; none succeeded" in says) == ("error", True)
    ((level, _),) = bad(replace(facts, succeeded=4))
    assert level == "warning"


def test_a_deferred_task_that_no_triggerer_takes_is_an_error() -> None:
    waiting = Deferred("stream__orders", taken=False, since=NOW - timedelta(minutes=5))
    assert bad(replace(GOOD, deferred=[waiting])) == [
        ("error", "no triggerer has taken the deferred tasks of stream__orders")
    ]
    assert bad(replace(GOOD, deferred=[replace(waiting, since=NOW)])) == []


def test_files_that_cannot_be_read_are_errors() -> None:
    found = bad(replace(GOOD, import_errors=["streams.py: KeyError"], plugin_errors=["x.py: ImportError"]))
    assert [level for level, _ in found] == ["error", "error"]


SOUND = {
    ("api_auth", "jwt_secret"): Option("< hidden >", "env var"),
    ("api_auth", "jwt_issuer"): Option("millrace", "airflow.cfg"),
    ("api", "secret_key"): Option("< hidden >", "airflow.cfg"),
    ("api", "base_url"): Option("https://airflow.example.org", "env var"),
    ("core", "executor"): Option("CeleryExecutor", "env var"),
    ("dag_processor", "refresh_interval"): Option("300", "default"),
    ("scheduler", "orphaned_tasks_check_interval"): Option("60", "env var"),
}


def test_settings_that_agree_are_not_worth_a_word() -> None:
    assert list(judge_config(SOUND)) == []
    assert execution_api_url(SOUND) == "https://airflow.example.org/execution/"


@pytest.mark.parametrize(
    ("changes", "levels", "words"),
    [
        (
            {("api_auth", "jwt_secret"): Option("< hidden >", "default")},
            ["error"],
            "every component makes up its own",
        ),
        ({("api", "secret_key"): Option("< hidden >", "default")}, ["warning"], "fetch the tasks' logs"),
        (
            {("api", "base_url"): Option("/", "env var")},
            ["error"],
            "tasks look for Airflow at http://localhost:8080/",
        ),
        ({("dag_processor", "refresh_interval"): Option("3600", "env var")}, ["warning"], "3,600 s"),
        (
            {("scheduler", "orphaned_tasks_check_interval"): Option("300.0", "default")},
            ["warning"],
            "a stream goes unwatched for so long",
        ),
    ],
)
def test_a_setting_that_fails_silently_is_told(
    changes: dict[tuple[str, str], Option], levels: list[str], words: str
) -> None:
    found = list(judge_config({**SOUND, **changes}))
    assert [one.level for one in found] == levels
    assert words in found[0].says


@pytest.mark.parametrize(
    ("status", "reason", "level", "words"),
    [
        (404, "", "fine", "takes their tokens"),
        (403, "", "error", "every task would fail"),
        (404, "unknown", "error", "not Airflow's execution API"),
        (200, "unknown", "error", "not Airflow's execution API"),
        (502, "unknown", "error", "answers 502"),
        (None, "Connection refused", "error", "there is no answer: Connection refused"),
    ],
)
def test_the_answer_to_a_tasks_token(status: int | None, reason: str, level: str, words: str) -> None:
    found = judge_answer("http://a/execution/", status, reason)
    assert (found.level, words in found.says) == (level, True)
