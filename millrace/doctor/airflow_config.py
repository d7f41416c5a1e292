"""The settings of an Airflow component that fail silently, looked at where they are in force.

Run as a program (`python -m millrace.doctor.airflow_config`) in a component's environment; it prints a JSON list
of findings. It is a process of its own because importing Airflow takes seconds and fixes its settings for good.
"""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from typing import Any

from millrace.doctor.finding import Finding, error, fine, warning

PART = "Airflow"
SLOW_REFRESH = 900
"""Seconds after which people give up waiting for a changed DAG; Airflow's default is 300."""
SLOW_ADOPTION = 60
"""Seconds; Airflow's default is 300."""
_LOCAL = ("localhost", "127.0.0.1", "[::1]")


@dataclass(frozen=True)
class Option:
    """A setting of Airflow as it is in force. `source`: default, airflow.cfg, env var, cmd or secret."""

    value: str
    source: str


Config = Mapping[tuple[str, str], Option]


def judge_config(config: Config) -> Iterator[Finding]:
    """What is wrong with the settings, by themselves."""
    key_pair = config.get(("api_auth", "jwt_private_key_path"))
    if not key_pair and _is_made_up(config, "api_auth", "jwt_secret"):
        yield error(
            PART,
            "api_auth.jwt_secret is not set: every component makes up its own, all report healthy, and every task "
            "fails",
            "set AIRFLOW__API_AUTH__JWT_SECRET to one long random text in every component (api-server, scheduler, "
            "triggerer, dag-processor)",
        )
    if ("api_auth", "jwt_issuer") not in config:
        yield warning(
            PART,
            "api_auth.jwt_issuer is not set",
            "set AIRFLOW__API_AUTH__JWT_ISSUER to the same word in every component: with it in some of them only, "
            "every task fails",
        )
    if _is_made_up(config, "api", "secret_key"):
        yield warning(
            PART,
            "api.secret_key is not set: where components do not share a disk, the page cannot fetch the tasks' logs",
            "set AIRFLOW__API__SECRET_KEY to the same long random text in every component",
        )
    executor = _value(config, "core", "executor") or "LocalExecutor"
    url = execution_api_url(config)
    if "LocalExecutor" not in executor and any(host in url for host in _LOCAL):
        yield error(
            PART,
            f"core.executor is {executor}, and tasks look for Airflow at {url}, which is their own machine there",
            "set AIRFLOW__CORE__EXECUTION_API_SERVER_URL to the api-server as the workers see it",
        )
    refresh = _value(config, "dag_processor", "refresh_interval")
    if refresh and refresh.isdigit() and int(refresh) > SLOW_REFRESH:
        yield warning(
            PART,
            f"dag_processor.refresh_interval is {int(refresh):,} s: a new or changed DAG is seen only then",
            "set AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL to 300 or less",
        )
    if (adoption := _seconds(config, "scheduler", "orphaned_tasks_check_interval")) > SLOW_ADOPTION:
        yield warning(
            PART,
            f"scheduler.orphaned_tasks_check_interval is {adoption:g} s: what a scheduler was running when it was "
            "killed is begun again only then, and a stream goes unwatched for so long",
            f"set AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL to {SLOW_ADOPTION} or less",
        )


def execution_api_url(config: Config) -> str:
    """Where tasks look for Airflow: as Airflow itself derives it (airflow.executors.base_executor)."""
    if url := _value(config, "core", "execution_api_server_url"):
        return url
    base = _value(config, "api", "base_url") or "/"
    if base.startswith("/"):
        base = f"http://localhost:8080{base}"
    return f"{base.rstrip('/')}/execution/"


def judge_answer(url: str, status: int | None, reason: str = "") -> Finding:
    """What the api-server says to a token that was made as the scheduler makes it. `status` None: no answer."""
    if status is None:
        return error(
            PART,
            f"tasks look for Airflow at {url}, and there is no answer: {reason}",
            "start the api-server, or set AIRFLOW__CORE__EXECUTION_API_SERVER_URL to where it is",
        )
    if status in (401, 403):
        return error(
            PART,
            f"the api-server at {url} refuses a token made with the settings here: every task would fail",
            "AIRFLOW__API_AUTH__JWT_SECRET, AIRFLOW__API_AUTH__JWT_ISSUER and AIRFLOW__EXECUTION_API__JWT_AUDIENCE "
            "must be the same in every component, and their clocks must agree",
        )
    if status < 500 and reason == "unknown":
        return error(
            PART,
            f"what answers at {url} is not Airflow's execution API",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL must end in /execution/ of the api-server",
        )
    if status >= 500:
        return error(PART, f"the api-server at {url} answers {status}", "see its log")
    return fine(PART, f"tasks reach Airflow at {url}, and it takes their tokens")


def _is_made_up(config: Config, section: str, key: str) -> bool:
    option = config.get((section, key))
    return option is None or option.source == "default"


def _value(config: Config, section: str, key: str) -> str | None:
    option = config.get((section, key))
    return option.value if option is not None else None


def _seconds(config: Config, section: str, key: str) -> float:
    """0 when it is not set, or no number, which Airflow refuses itself."""
    try:
        return float(_value(config, section, key) or 0)
    except ValueError:
        return 0.0


def _in_force() -> Config:
    from airflow.configuration import conf

    found: dict[tuple[str, str], Option] = {}
    for section, options in conf.as_dict(display_source=True).items():
        for key, option in options.items():
            value, source = option if isinstance(option, tuple) else (option, "")
            if value not in (None, ""):
                found[section, key] = Option(str(value), source)
    return found


def _ask_execution_api(url: str) -> Finding:
    """With a token of no task, for a variable that is not there: 404 is the answer of who trusts the token."""
    import httpx
    from airflow.api_fastapi.auth.tokens import JWTGenerator, get_signing_args
    from airflow.configuration import conf

    try:
        generator = JWTGenerator(
            valid_for=60,
            audience=conf.get_mandatory_list_value("execution_api", "jwt_audience")[0],
            issuer=conf.get("api_auth", "jwt_issuer", fallback=None),
            **get_signing_args(make_secret_key_if_needed=False),
        )
        token = generator.generate({"sub": str(uuid.uuid4()), "scope": "execution"})
    except ValueError as problem:
        return error(PART, f"no token for tasks can be made: {problem}", "mend the section [api_auth]")
    try:
        answer = httpx.get(
            f"{url.rstrip('/')}/variables/millrace_doctor_asks_for_nothing",
            headers={"Authorization": f"Bearer {token}"},
            timeout=10,
        )
    except httpx.HTTPError as problem:
        return judge_answer(url, None, str(problem) or type(problem).__name__)
    return judge_answer(url, answer.status_code, _known(answer))


def _known(answer: Any) -> str:
    """The execution API names what it did not find; another server, or Airflow's page, says something else."""
    try:
        detail = answer.json()["detail"]
    except (ValueError, KeyError, TypeError):
        return "unknown"
    return "" if answer.status_code == 404 and isinstance(detail, dict) else "unknown"


def _spark_connection() -> Finding:
    from airflow.models.connection import Connection

    try:
        found = Connection.get_connection_from_secrets("spark_default")
    except Exception as problem:  # each secrets backend has errors of its own
        return warning(
            PART,
            f"the connection spark_default is not there ({type(problem).__name__})",
            "add it (type spark, host such as local[2] or spark://host:7077): a backlog of more than 200 hours goes "
            "through it",
        )
    return fine(PART, f"connection spark_default: {found.host}")


def main() -> None:
    """Print the findings, and nothing else, to standard output."""
    with redirect_stdout(sys.stderr):  # some of Airflow's parts print
        config = _in_force()
        findings = list(judge_config(config))
        if not any(one.level == "error" for one in findings):
            findings.append(_ask_execution_api(execution_api_url(config)))
        findings.append(_spark_connection())
    print(json.dumps([asdict(one) for one in findings]))


if __name__ == "__main__":
    main()
