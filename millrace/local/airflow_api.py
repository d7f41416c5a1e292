"""The few questions and orders that `millrace up` has for Airflow's REST API."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import httpx

from millrace.local.credentials import ADMIN_PASSWORD, ADMIN_USER
from millrace.local.errors import StackError
from millrace.settings import Settings

COMPONENTS = ("metadatabase", "scheduler", "dag_processor", "triggerer")


class AirflowApi:
    """Airflow's API, logged in as the stack's admin. Every method may raise StackError."""

    def __init__(self, url: str, password: str) -> None:
        self._client = httpx.Client(base_url=url, timeout=20, trust_env=False)
        self._password = password

    @classmethod
    def of(cls, settings: Settings, secrets: Mapping[str, str]) -> AirflowApi:
        """The embedded stack's."""
        return cls(settings.airflow_url, secrets[ADMIN_PASSWORD])

    def unhealthy(self) -> list[str] | None:
        """The components that do not report healthy; None when the server does not answer yet."""
        try:
            answer = self._client.get("/api/v2/monitor/health", timeout=3)
        except httpx.HTTPError:
            return None
        if answer.status_code != 200:
            return None
        said = answer.json()
        return [name for name in COMPONENTS if (said.get(name) or {}).get("status") != "healthy"]

    def dag(self, dag_id: str) -> dict[str, Any] | None:
        """What Airflow knows of a DAG (`is_paused`, …); None before it has read the DAG's file."""
        return self._ask("GET", f"/api/v2/dags/{dag_id}", missing_ok=True)

    def pause(self, dag_id: str, paused: bool) -> None:
        """Pause a DAG or let it run."""
        self._ask("PATCH", f"/api/v2/dags/{dag_id}?update_mask=is_paused", {"is_paused": paused})

    def has_run(self, dag_id: str) -> bool:
        """Whether there was ever a run of a DAG."""
        return bool((self._ask("GET", f"/api/v2/dags/{dag_id}/dagRuns?limit=1") or {})["dag_runs"])

    def import_errors(self, since: datetime) -> list[str]:
        """Files of DAGs that could not be imported after `since` (older errors may be mended by now), each
        with the last line of its error."""
        found = self._ask("GET", "/api/v2/importErrors") or {}
        return [
            f"{error['filename']}: {error['stack_trace'].strip().splitlines()[-1]}"
            for error in found.get("import_errors", [])
            if datetime.fromisoformat(error["timestamp"]) >= since
        ]

    def trigger(self, dag_id: str) -> str:
        """Begin a run of a DAG by hand; returns its run id."""
        run = self._ask("POST", f"/api/v2/dags/{dag_id}/dagRuns", {"logical_date": None})
        return str((run or {})["dag_run_id"])

    def run_state(self, dag_id: str, run_id: str) -> str:
        """queued, running, success or failed."""
        return str((self._ask("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}") or {})["state"])

    def task_states(self, dag_id: str) -> dict[str, str | None]:
        """The newest hundred task instances of all runs of a DAG, by id: running, success, …; None before it is
        scheduled. The answer changes with everything that happens in these runs."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/~/taskInstances?limit=100&order_by=-id"
        return {one["id"]: one["state"] for one in (self._ask("GET", path) or {})["task_instances"]}

    def get(self, path: str) -> dict[str, Any]:
        """The answer to a GET of a path such as /api/v2/assets/events."""
        return self._ask("GET", path) or {}

    def _ask(
        self, method: str, path: str, body: dict[str, Any] | None = None, *, missing_ok: bool = False
    ) -> dict[str, Any] | None:
        try:
            if "Authorization" not in self._client.headers:
                self._log_in()
            answer = self._client.request(method, path, json=body)
            if answer.status_code == 401:  # a token lasts a day; a restarted stack may have another key
                self._log_in()
                answer = self._client.request(method, path, json=body)
        except httpx.HTTPError as error:
            raise StackError(f"Airflow does not answer at {self._client.base_url} ({error})") from None
        if answer.status_code == 404 and missing_ok:
            return None
        if answer.is_error:
            raise StackError(f"Airflow refuses {method} {path}: {answer.status_code} {answer.text[:300]}")
        return dict(answer.json())

    def _log_in(self) -> None:
        answer = self._client.post("/auth/token", json={"username": ADMIN_USER, "password": self._password})
        if answer.is_error:
            raise StackError(f"Airflow refuses the stack's own password ({answer.status_code})")
        self._client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
