"""The tasks of `compact_hourly`: between Airflow's context and the functions that do the work.

Imported when a task runs.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from airflow.sdk import Asset, AssetAlias, Context
from airflow.sdk.exceptions import AirflowFailException

from millrace_airflow import access, compaction

log = logging.getLogger("airflow.task")

RESULTS = "results"
"""XCom key: what `compact` has done so far, written after each hour."""


def plan(context: Context) -> list[dict[str, Any]]:
    from millrace.catalog import load_catalog
    from millrace.publish.due import due_hours

    settings = access.current_settings()
    datasets = load_catalog(settings.catalog_dir).datasets
    dataset, hour = context["params"].get("dataset"), context["params"].get("hour")
    chosen = [datasets[dataset]] if dataset else list(datasets.values())
    now = datetime.now(UTC)
    if hour:
        try:
            asked = compaction.requested_hour(hour, now)
        except compaction.NotAnHour as error:
            raise AirflowFailException(str(error)) from None
        made = compaction.planned((spec.name, [asked]) for spec in chosen)
    else:
        store = access.store_of(settings)
        made = compaction.planned((spec.name, due_hours(store, spec, now)) for spec in chosen)
    for chunk in made.chunks:
        log.info("to publish: %s", chunk["name"])
    if not made.chunks:
        log.info("nothing is due: every hour that has ended is published as far as its facts have landed")
    if made.put_off:
        log.warning("%d more hours are due; the next run takes them", made.put_off)
    return made.chunks


def compact(context: Context, chunk: dict[str, Any]) -> None:
    from millrace.catalog import load_catalog
    from millrace.publish.compact import compact_hours
    from millrace.publish.fold import HourResult
    from millrace.quality.auditor import auditor_of
    from millrace.quality.suite import SuiteError

    settings = access.current_settings()
    store = access.store_of(settings)
    dataset = load_catalog(settings.catalog_dir).datasets[chunk["dataset"]]
    try:
        audit = auditor_of(store, [dataset])
    except SuiteError as error:
        raise AirflowFailException(
            f"nothing is published without its suite of expectations:\n{error}"
        ) from None
    done: list[dict[str, Any]] = []

    def note(result: HourResult) -> None:
        log.log(
            logging.ERROR if result.outcome in compaction.NOT_PUBLISHED else logging.INFO,
            "%s",
            compaction.result_line(result),
        )
        done.append(compaction.result_json(dataset.name, result))
        # After each hour, so that what was published is announced even if this process dies.
        context["ti"].xcom_push(key=RESULTS, value=done)

    hours = [datetime.fromisoformat(hour) for hour in chunk["hours"]]
    compact_hours(store, dataset, hours, audit=audit, report=note)
    if failed := [one for one in done if one["outcome"] in compaction.NOT_PUBLISHED]:
        raise AirflowFailException(compaction.failures_text(failed))


def announce(context: Context, alias: AssetAlias, assets: Mapping[str, Asset]) -> int:
    published = [one for one in _results(context) if one["outcome"] == "published"]
    for one in published:
        context["outlet_events"][alias].add(assets[one["dataset"]], extra=compaction.asset_extra(one))
    log.info("%d hours announced", len(published))
    return len(published)


def report(context: Context) -> str:
    # task_ids as a list: a single name would be answered with a value or a list, depending on how many.
    chunks = [chunk for chunk in context["ti"].xcom_pull(task_ids=["plan"]) if chunk is not None]
    if not chunks:
        raise AirflowFailException("there is no plan: the task `plan` failed, and its log says why")
    done = _results(context)
    planned = [(chunk["dataset"], hour) for chunk in chunks[0] for hour in chunk["hours"]]
    reached = {(one["dataset"], one["hour"]) for one in done}
    failed = [one for one in done if one["outcome"] in compaction.NOT_PUBLISHED]
    failed += [
        {"dataset": dataset, "hour": hour, "error": "its task `compact` ended before it came to this hour"}
        for dataset, hour in planned
        if (dataset, hour) not in reached
    ]
    if failed:
        raise AirflowFailException(compaction.failures_text(failed))
    if not planned:
        text = "nothing was due"
    else:
        counted = Counter((one["dataset"], one["outcome"]) for one in done)
        text = "; ".join(f"{dataset}: {count} {what}" for (dataset, what), count in sorted(counted.items()))
    log.info("%s", text)
    return text


def _results(context: Context) -> list[dict[str, Any]]:
    pulled = context["ti"].xcom_pull(task_ids=["compact"], key=RESULTS)
    return [one for chunk in pulled if chunk for one in chunk]
