"""Every due hour of every dataset is folded and published: each hour by itself, by hand, or a single one."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, Asset, AssetAlias, Param, get_current_context, task
from millrace_airflow import compaction, compaction_tasks, policy
from millrace_airflow.fold_backlog import FoldBacklogOperator

from millrace import settings
from millrace.catalog import load_catalog

DOCS = """
### compact_hourly

Streams write small Parquet objects to `landing/`. This DAG joins them into one object per hour,
`<dataset>/YYYY/MM/DD/HH/part-0.parquet` (UTC), which is what readers see. Before an hour is published it is
audited: by the suite `expectations/<dataset>.json`, with Great Expectations. A critical failure puts it into
quarantine, a warning is published and marked (in the object's footer and in `quality/`).

**Runs** at {minute} minutes past each hour (an hour is due five minutes after its end), and by hand: *Trigger*
without anything filled in publishes whatever is due now; with an *hour*, that hour alone, due or not.

**Tasks.** `plan` lists the due hours; `compact` publishes them, one mapped task for up to 24 hours of a
dataset, one at a time (pool `publish`). Of more than {spark_above} due hours (the form may say another number)
all go to Spark instead: `fold_backlog` submits `spark_apps/fold_backlog.py` to the connection `spark_default`,
where each hour is with one task, and its log tells how far it is; `collect` takes what became of them from the
store. `announce` emits one asset event per published hour, with
`hour`, `rev`, `status` (provisional, final, amending) and `rows`; `report` sums up, also when nothing was due.

**When it is red.** `report` lists every hour that failed, and why. The other hours are published, and nothing
is lost: what landed stays there until it is published, and the next run tries again by itself.

| the log says | look at | usual cause |
|---|---|---|
| `not a whole hour`, `has not ended` | the form | an hour that cannot be published; the text names one that can |
| no answer from the store | `millrace status`, `millrace logs NAME=s3` | the store is away or its disk is full |
| `is in quarantine` | the rows below it | wrong data, or a wrong expectation: DAG `review_quarantine` |
| `without its suite` | `expectations/`, the line that is named | a mistake in a suite, or a dataset without one |
| `SET ASIDE` | `.reason.json` in `rejected/landing/` | an object nobody can count; its hour goes on |
| a published hour cannot be read | the object that is named | a newer version wrote it: upgrade |
| `Error code is: 1` | the lines above it, by hour | `fold_backlog` could not publish every hour |
| `No such file`, `spark-submit` | `PATH` of the Airflow worker | Spark is not installed where the task runs |
| `compact` waits and waits | *Admin, Pools*: `publish`, 1 slot | the pool was deleted: `millrace up` makes it |

**Past incidents.** None yet.
"""

MINUTE = 6
"""Hours are due five minutes after their end."""

here = settings.load()
catalog = load_catalog(here.catalog_dir)
assets = {
    name: Asset(
        name=name, uri="s3://" + "/".join(filter(None, [here.bucket, here.prefix.strip("/"), spec.prefix]))
    )
    for name, spec in catalog.datasets.items()
}
# One task may emit many events only through an alias: an asset itself gets one event per task.
published_hours = AssetAlias("published_hours")

with DAG(
    dag_id="compact_hourly",
    description="Publishes every due hour of every dataset",
    doc_md=DOCS.format(minute=MINUTE, spark_above=compaction.SPARK_ABOVE),
    schedule=f"{MINUTE} * * * *",
    start_date=policy.START,
    catchup=False,
    max_active_runs=1,
    tags={policy.PUBLISH},
    # No retries: an hour that failed is due again in the next run, and a second attempt at a task would
    # forget which hours the first one has published, before they are announced.
    default_args=policy.default_args(retries=0),
    params={
        "dataset": Param(
            None,
            type=["null", "string"],
            enum=[None, *sorted(catalog.datasets)],
            title="Dataset",
            description="Empty: all of them.",
        ),
        "hour": Param(
            None,
            type=["null", "string"],
            format="date-time",
            title="A single hour",
            description="Empty: every hour that is due. Otherwise the beginning of an hour in UTC, such as "
            "2026-03-01T14:00:00Z; it is published again, due or not.",
        ),
        "spark_above": Param(
            compaction.SPARK_ABOVE,
            type="integer",
            minimum=0,
            title="Spark above",
            description="When more hours than this are due, Spark publishes them all.",
        ),
    },
) as dag:

    @task(retries=2)
    def plan() -> list[dict[str, Any]]:
        """Which hours are to be published."""
        return compaction_tasks.plan(get_current_context())

    @task(pool=policy.PUBLISH_POOL, map_index_template="{{ task.op_kwargs['chunk']['name'] }}")
    def compact(chunk: dict[str, Any]) -> None:
        """Publish up to 24 hours of one dataset."""
        compaction_tasks.compact(get_current_context(), chunk)

    fold_backlog = FoldBacklogOperator(
        task_id="fold_backlog",
        conn_id="spark_default",
        pool=policy.PUBLISH_POOL,
        # Of one slot: mostly there is no backlog, and no hour should wait until that has been found.
        priority_weight=0,
        weight_rule="absolute",
    )

    @task(trigger_rule="none_skipped", retries=2)
    def collect() -> None:
        """What became of the hours that Spark folded."""
        compaction_tasks.collect(get_current_context())

    @task(trigger_rule="all_done", retries=2, inlets=list(assets.values()), outlets=[published_hours])
    def announce() -> int:
        """One asset event for each published hour."""
        return compaction_tasks.announce(get_current_context(), published_hours, assets)

    @task(trigger_rule="all_done")
    def report() -> str:
        """What was published, what failed and what to do."""
        return compaction_tasks.report(get_current_context())

    planned = plan()
    announced = announce()
    compact.expand(chunk=planned) >> announced
    planned >> fold_backlog >> collect() >> announced >> report()
