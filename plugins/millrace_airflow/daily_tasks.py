"""The tasks of `quality_daily`: between Airflow's context and the summary of a day."""

from __future__ import annotations

import logging
from datetime import UTC, date, datetime, timedelta

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowFailException

from millrace_airflow import access

log = logging.getLogger("airflow.task")


def day_of(text: str | None, now: datetime) -> date:
    """The day that a person asked for, or yesterday (UTC). Raises AirflowFailException with clear words."""
    yesterday = now.astimezone(UTC).date() - timedelta(days=1)
    if not text:
        return yesterday
    try:
        asked = date.fromisoformat(text)
    except ValueError:
        raise AirflowFailException(f"day {text!r} is not a date: write one such as {yesterday}") from None
    if asked > yesterday:
        raise AirflowFailException(f"{asked} has not ended yet (UTC); the latest day is {yesterday}")
    return asked


def summarise(context: Context) -> str:
    """A summary of each dataset's day, in the log and in the store; red when one of them failed."""
    from millrace.catalog import load_catalog
    from millrace.quality import daily
    from millrace.quality.day import put_summary

    settings = access.current_settings()
    store = access.store_of(settings)
    now = datetime.now(UTC)
    day = day_of(context["params"].get("day"), now)
    summaries = [
        daily.summarise(store, dataset, day, now)
        for dataset in load_catalog(settings.catalog_dir).datasets.values()
    ]
    for one in summaries:
        key = put_summary(store, one)
        log.info("%s\n  kept as %s", one.text, key)
    text = "\n\n".join(one.text for one in summaries)
    if any(one.outcome == "failed" for one in summaries):
        raise AirflowFailException(f"{text}\nWhat to do: see the DAG's docs")
    return text


def data_docs(context: Context) -> list[str]:
    """Great Expectations' pages of the day, when the form asks for them; the keys of their indexes."""
    from airflow.sdk.exceptions import AirflowSkipException

    if not context["params"].get("data_docs"):
        raise AirflowSkipException("Data Docs were not asked for")
    from millrace.catalog import load_catalog
    from millrace.quality.data_docs import build_data_docs
    from millrace.quality.suite import load_suite, suite_file

    settings = access.current_settings()
    store = access.store_of(settings)
    day = day_of(context["params"].get("day"), datetime.now(UTC))
    built = []
    for dataset in load_catalog(settings.catalog_dir).datasets.values():
        built.append(build_data_docs(store, dataset, load_suite(suite_file(dataset.name), dataset), day))
        log.info("Data Docs: %s (their styles and scripts come from public CDNs)", built[-1])
    return built
