"""The tasks of `maintenance`: between Airflow's context and the functions that do the work.

Imported when a task runs.
"""

from __future__ import annotations

import logging
import shlex
from datetime import UTC, datetime, timedelta

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from millrace_airflow import access

log = logging.getLogger("airflow.task")

REPORT = "report"
"""XCom key: what went, or would go. Written before the task can fail."""


def prune(context: Context) -> None:
    from millrace.catalog import load_catalog
    from millrace.retention.prune import as_json
    from millrace.retention.prune import prune as run
    from millrace.retention.tell import text_of

    settings = access.current_settings()
    catalog = load_catalog(settings.catalog_dir)
    report = run(access.store_of(settings), catalog, dry_run=bool(context["params"]["dry_run"]))
    for line in text_of(report).splitlines():
        log.info("%s", line)
    context["ti"].xcom_push(key=REPORT, value=as_json(report))
    if report.problems:
        raise AirflowFailException(
            f"{len(report.problems)} thing(s) were left undone, the rest was done:\n  "
            + "\n  ".join(report.problems)
        )


def clean_airflow(context: Context) -> None:
    from millrace.retention import airflow_database

    settings = access.current_settings()
    now, kept = datetime.now(UTC), timedelta(days=int(context["params"]["airflow_days"]))
    if context["params"]["dry_run"]:
        raise AirflowSkipException("a dry run: Airflow's database is left as it is")
    if airflow_database.own_database(settings) is None:
        command = shlex.join(airflow_database.clean_command(now, kept))
        raise AirflowSkipException(
            "Airflow's database is not this deployment's own file, and tasks have no access to it: "
            f"run this beside the scheduler, for instance from cron: {command}"
        )
    try:
        airflow_database.clean(settings, now, kept, lambda line: log.info("%s", line))
    except airflow_database.CleaningFailed as error:
        raise AirflowFailException(f"{error}. Nothing else depends on it; the next run tries again") from None
