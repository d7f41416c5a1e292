"""The tasks of `compact_hourly`: between Airflow's context and the functions that do the work.

Imported when a task runs.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from airflow.sdk import Asset, AssetAlias, Context
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from millrace.publish.outcome import NOT_PUBLISHED, result_json, result_line, sum_text
from millrace_airflow import access, compaction

log = logging.getLogger("airflow.task")

RESULTS = "results"
"""XCom key: what `compact` has done so far, written after each hour; and what Spark did, from `collect`."""
BACKLOG = "backlog"
"""XCom key: what `plan` has left to Spark, as {"run": its name in the store, "hours": how many}."""


def plan(context: Context) -> list[dict[str, Any]]:
    from millrace.catalog import load_catalog
    from millrace.publish import backlog
    from millrace.publish.due import due_hours

    settings = access.current_settings()
    store = access.store_of(settings)
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
        due = ((spec.name, due_hours(store, spec, now)) for spec in chosen)
        made = compaction.planned(due, context["params"]["spark_above"])
    for chunk in made.chunks:
        log.info("to publish: %s", chunk["name"])
    if made.backlog:
        run = backlog.run_name(context["run_id"])
        parts = [backlog.Part(part["dataset"], tuple(part["hours"])) for part in made.backlog]
        backlog.put_work(store, run, parts)
        context["ti"].xcom_push(key=BACKLOG, value={"run": run, "hours": made.hours})
        log.info("to publish with Spark, in the task `fold_backlog`: %d hours", made.hours)
    elif not made.chunks:
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
            logging.ERROR if result.outcome in NOT_PUBLISHED else logging.INFO,
            "%s",
            result_line(result),
        )
        done.append(result_json(dataset.name, result))
        # After each hour, so that what was published is announced even if this process dies.
        context["ti"].xcom_push(key=RESULTS, value=done)

    hours = [datetime.fromisoformat(hour) for hour in chunk["hours"]]
    compact_hours(store, dataset, hours, audit=audit, report=note)
    if failed := [one for one in done if one["outcome"] in NOT_PUBLISHED]:
        raise AirflowFailException(compaction.failures_text(failed))


def collect(context: Context) -> None:
    from millrace.publish import backlog
    from millrace.store import StoreError

    ordered = ordered_backlog(context)
    if ordered is None:
        raise AirflowSkipException("no hour was left to Spark")
    store = access.store_of(access.current_settings())
    run = ordered["run"]
    results = backlog.with_the_missing(backlog.read_work(store, run), backlog.read_results(store, run))
    context["ti"].xcom_push(key=RESULTS, value=results)
    log.info("%s", sum_text(results))
    try:
        backlog.forget(store, run)
    except StoreError as error:  # a second attempt at this task would find only a part of it
        log.warning("%s%s/ is of no more use, and could not be removed: %s", backlog.PREFIX, run, error)


def ordered_backlog(context: Context) -> dict[str, Any] | None:
    """What `plan` has left to Spark, if anything."""
    return next(iter(context["ti"].xcom_pull(task_ids=["plan"], key=BACKLOG)), None)


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
    failed = [one for one in done if one["outcome"] in NOT_PUBLISHED]
    ordered = ordered_backlog(context)
    if ordered is not None and not any(context["ti"].xcom_pull(task_ids=["collect"], key=RESULTS)):
        text = "what Spark published is not known: the log of `collect` says why; the next run looks again"
        failed.append({"dataset": f"{ordered['hours']} hours", "hour": "of the backlog", "error": text})
    failed += [
        {"dataset": dataset, "hour": hour, "error": "its task `compact` ended before it came to this hour"}
        for dataset, hour in planned
        if (dataset, hour) not in reached
    ]
    text = sum_text(done) or ("nothing was published" if failed else "nothing was due")
    log.info("%s", text)
    if failed:
        raise AirflowFailException(compaction.failures_text(failed))
    return text


def _results(context: Context) -> list[dict[str, Any]]:
    pulled = context["ti"].xcom_pull(task_ids=["compact", "collect"], key=RESULTS)
    return [one for chunk in pulled if chunk for one in chunk]
