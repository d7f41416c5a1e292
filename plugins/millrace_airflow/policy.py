"""What is the same for every DAG: owner, tags, retries. `tests/dags` holds every DAG to it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import CronTriggerTimetable

OWNER = "millrace"

STREAM = "stream"
PUBLISH = "publish"
QUALITY = "quality"
MAINTENANCE = "maintenance"
TAGS = {
    STREAM: "keeps a streaming driver running",
    PUBLISH: "makes the hours that readers see",
    QUALITY: "judges the hours, and asks people",
    MAINTENANCE: "lets go what is too old",
}
"""The closed set: a tag that only one DAG has helps nobody to find it."""

START = datetime(2024, 1, 1, tzinfo=UTC)
"""In the past, so that a DAG begins when it is seen; without catch-up nothing else follows from it."""

MISSED_BY = timedelta(minutes=10)
"""A nightly run that was due so short a time before its DAG was first seen is made up for."""

PUBLISH_POOL = "publish"
"""One slot: the embedded S3 server's conditional PUT is not atomic, so publishers take turns."""


def default_args(retries: int) -> dict[str, Any]:
    """What every task has. `retries` is stated by each DAG, since it depends on what a repeat does."""
    return {
        "owner": OWNER,
        "retries": retries,
        "retry_delay": timedelta(minutes=1),
        "retry_exponential_backoff": 2.0,
        "max_retry_delay": timedelta(minutes=10),
    }


def nightly(hour: int, minute: int) -> CronTriggerTimetable:
    """Once a day at this time, UTC; for a DAG without a start date.

    With one in the past, Airflow begins with the night before: a new deployment, which has no yesterday to look at and
    nothing too old, would do that first, in the slots in which its streams are to begin. A night that is missed later
    is made up for, as everywhere.
    """
    return CronTriggerTimetable(f"{minute} {hour} * * *", timezone="UTC", run_immediately=MISSED_BY)
