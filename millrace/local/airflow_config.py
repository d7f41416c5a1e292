"""Airflow's configuration in the embedded stack, as environment variables (stronger than any airflow.cfg)."""

from __future__ import annotations

import json
from pathlib import Path

from millrace.local.credentials import ADMIN_PASSWORD, ADMIN_USER, write_private
from millrace.settings import PROJECT_ROOT, Settings

PUBLISH_POOL = "publish"


def airflow_home(settings: Settings) -> Path:
    return settings.home / "airflow"


def airflow_environment(settings: Settings) -> dict[str, str]:
    """Everything but the secrets, which the caller adds (`credentials.ensure_secrets`)."""
    home = airflow_home(settings)
    url = settings.airflow_url
    return {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT_ROOT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT_ROOT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        # Each place is a process of its own from the start; the tasks here are short or deferred.
        "AIRFLOW__CORE__PARALLELISM": "3",
        "AIRFLOW__CORE__AUTH_MANAGER": (
            "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager"
        ),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{ADMIN_USER}:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(password_file(settings)),
        # Without this address, and the same JWT secret and issuer in every component, all of Airflow
        # reports healthy and every task fails.
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__API_AUTH__JWT_ISSUER": "millrace",
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(settings.ports.airflow),
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API__INSTANCE_NAME": "Millrace",
        # A task outlives a restart of the API server of about a minute: on a busy machine the scheduler is up
        # before the API server, and by default its first tasks would be killed 11 s later.
        "AIRFLOW__WORKERS__EXECUTION_API_RETRIES": "20",
        "AIRFLOW__WORKERS__EXECUTION_API_RETRY_WAIT_MAX": "5",
        "AIRFLOW__WORKERS__MAX_FAILED_HEARTBEATS": "12",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        "AIRFLOW__LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY": str(home / "logs" / "dag_processor"),
        "AIRFLOW__LOGGING__COLORED_CONSOLE_LOG": "False",
        # The log servers of scheduler and triggerer listen on every address and cannot be told otherwise,
        # so they do not run: the web server reads the same files. It still asks them once per look at a
        # running task and would log each refusal with a traceback.
        "AIRFLOW__LOGGING__NAMESPACE_LEVELS": "airflow.utils.log.file_task_handler=CRITICAL",
        "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "30",
        "AIRFLOW__SCHEDULER__ENABLE_HEALTH_CHECK": "False",
        # What a killed scheduler was running is begun again by its successor only at such a check; the first, at
        # its start, comes too early to see that the old one is dead. By default a stream is unwatched for 5 min.
        "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "20",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "AIRFLOW_CONN_SPARK_DEFAULT": json.dumps(
            {"conn_type": "spark", "host": "local[2]", "extra": {"spark-binary": "spark-submit"}}
        ),
    }


def password_file(settings: Settings) -> Path:
    return airflow_home(settings) / "passwords.json"


def write_password_file(settings: Settings, secrets: dict[str, str]) -> None:
    """Give Airflow its password: one that it makes itself it would print into its log."""
    path = password_file(settings)
    text = json.dumps({ADMIN_USER: secrets[ADMIN_PASSWORD]}) + "\n"
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        write_private(path, text)
