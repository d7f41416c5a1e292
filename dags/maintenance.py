"""Once a day: what is older than the catalog's retention goes, and Airflow's own database is cleaned."""

from __future__ import annotations

from airflow.sdk import DAG, Param, get_current_context, task
from millrace_airflow import maintenance_tasks, policy

DOCS = """
### maintenance

Lets go what is older than `retention` in the catalog says (`datasets.yaml`, `streams.yaml`;
`docs/retention.md` explains each), and old rows of Airflow's own database.

**Runs** daily at {time} UTC, and by hand: *Trigger*, with *dry run* to see what would go without touching
anything. `millrace prune --dry-run` prints the same.

**Tasks.** `prune` ends with a table in its log: what went, how many objects and bytes, the oldest and the
newest, and why; the same is its XCom `report`. Published hours are not deleted: they become empty objects
first, so that nothing that lands late can bring back a part of an hour. It runs in the pool `publish`, as
whatever writes published hours. `clean_airflow` runs `airflow db clean`. Neither waits for the other.

**When it is red.** Nothing is half done, and the next run takes up what was left.

| the log says | look at | usual cause |
|---|---|---|
| no answer from the store | `millrace status`, `millrace logs NAME=s3` | the store is away or its disk is full |
| not a published hour, not a Parquet object | the object that is named | written by other code; move it aside |
| `airflow db clean` ended with status 1 | the lines above it | the database is locked or full |
| `clean_airflow` is skipped | its log names the command to run | Airflow's database is not the embedded stack's own |

**Past incidents.** None yet.
"""

HOUR, MINUTE = 3, 41
"""After the night's reports, before the day's work, and not on the minute at which hours are published."""

with DAG(
    dag_id="maintenance",
    description="Retention: what is too old goes; Airflow's database is cleaned",
    doc_md=DOCS.format(time=f"{HOUR:02d}:{MINUTE:02d}"),
    schedule=policy.nightly(HOUR, MINUTE),
    catchup=False,
    max_active_runs=1,
    tags={policy.MAINTENANCE},
    default_args=policy.default_args(retries=2),
    params={
        "dry_run": Param(
            False, type="boolean", title="Dry run", description="Only say what would go; touch nothing."
        ),
        "airflow_days": Param(
            60,
            type="integer",
            minimum=7,
            title="Days of Airflow's history",
            description="Older runs, task instances, XComs and log entries in Airflow's database go.",
        ),
    },
) as dag:

    @task(pool=policy.PUBLISH_POOL)
    def prune() -> None:
        """Let go what is too old, and say what went."""
        maintenance_tasks.prune(get_current_context())

    @task
    def clean_airflow() -> None:
        """Delete old rows of Airflow's database with Airflow's own tool."""
        maintenance_tasks.clean_airflow(get_current_context())

    prune()
    clean_airflow()
