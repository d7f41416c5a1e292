"""How the doctor reaches an Airflow: the embedded one with its own password, another one as it is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import httpx

from millrace.doctor.finding import Finding, warning
from millrace.local.airflow_api import AirflowApi
from millrace.local.credentials import ensure_secrets
from millrace.local.environment import stack_environment
from millrace.local.errors import StackError
from millrace.local.java import find_java
from millrace.local.supervisor import Supervisor
from millrace.settings import Settings

URL, TOKEN = "MILLRACE_AIRFLOW_URL", "MILLRACE_AIRFLOW_TOKEN"
USER, PASSWORD = "MILLRACE_AIRFLOW_USER", "MILLRACE_AIRFLOW_PASSWORD"
CONFIG_WITHIN = 90
"""Seconds for importing Airflow on a busy machine."""


class AirflowNamed:
    """An Airflow at MILLRACE_AIRFLOW_URL, with a token, or with a user and a password for one. Raises StackError."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._url = env[URL].rstrip("/")
        self._client = httpx.Client(base_url=self._url, timeout=20)
        token = env.get(TOKEN) or self._log_in(env)
        self._client.headers["Authorization"] = f"Bearer {token}"

    def get(self, path: str) -> dict[str, Any]:
        answer = self._send("GET", path)
        if answer.status_code in (401, 403):
            raise StackError(
                f"Airflow at {self._url} refuses GET {path} ({answer.status_code}): the token must be valid and of a "
                "user that may see DAGs, pools and plugins"
            )
        if answer.is_error:
            raise StackError(f"Airflow at {self._url} refuses GET {path} ({answer.status_code})")
        return dict(answer.json())

    def _log_in(self, env: Mapping[str, str]) -> str:
        answer = self._send("POST", "/auth/token", {"username": env[USER], "password": env[PASSWORD]})
        if answer.is_error:
            raise StackError(
                f"Airflow at {self._url} refuses {USER} and {PASSWORD} ({answer.status_code}); with another way of "
                f"logging in, get a token yourself and set {TOKEN}"
            )
        return str(answer.json()["access_token"])

    def _send(self, method: str, path: str, body: dict[str, str] | None = None) -> httpx.Response:
        try:
            return self._client.request(method, path, json=body)
        except httpx.HTTPError as problem:
            raise StackError(f"Airflow does not answer at {self._url} ({problem})") from None


def is_embedded(settings: Settings) -> bool:
    """Whether the stack of this home runs, and so is what the doctor looks at."""
    return Supervisor(settings.home).is_running()


def open_airflow(
    settings: Settings, env: Mapping[str, str] | None = None
) -> AirflowApi | AirflowNamed | Finding:
    """The Airflow to look at, or why there is none. Raises StackError."""
    env = os.environ if env is None else env
    if is_embedded(settings):
        return AirflowApi.of(settings, ensure_secrets(settings.home))
    if env.get(URL) and (env.get(TOKEN) or (env.get(USER) and env.get(PASSWORD))):
        return AirflowNamed(env)
    return warning(
        "Airflow",
        "what it runs was not looked at: it is not known where it is",
        f"set {URL} (such as http://127.0.0.1:8080) and {TOKEN}, or {USER} and {PASSWORD}",
    )


def look_at_config(settings: Settings) -> list[Finding]:
    """The settings of a component: of the embedded stack, or of whatever runs with this environment."""
    environment = dict(os.environ)
    if is_embedded(settings):
        environment = stack_environment(settings, ensure_secrets(settings.home), find_java())
    done = subprocess.run(
        [sys.executable, "-m", "millrace.doctor.airflow_config"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=CONFIG_WITHIN,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip() or "no output").splitlines()[-1]
        return [warning("Airflow", f"its settings cannot be read here: {last}", "is Airflow installed here?")]
    return [Finding(**one) for one in json.loads(done.stdout.splitlines()[-1])]
