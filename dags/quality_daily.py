"""Every night, of yesterday: is each dataset whole, final and consistent, and is it a day like others?"""

from __future__ import annotations

from airflow.sdk import DAG, Param, get_current_context, task
from millrace_airflow import daily_tasks, policy

DOCS = """
### quality_daily

Looks at yesterday (UTC) of every dataset and writes one summary that a person reads in ten seconds: in the log
of `summarise`, as its XCom, and as a JSON object `quality/daily/<dataset>/YYYY-MM-DD.json`.

**Runs** at 02:30 UTC: by then the last hour of a day is sealed (a stream waits two hours for late observations).
By hand with a *day*, for any earlier one; a second summary replaces the first. With *Data Docs* it also builds
Great Expectations' own pages, `quality/docs/<dataset>/YYYY-MM-DD/index.html`; they load their styles and scripts
from public CDNs.

| line | says | bad is |
|---|---|---|
| hours | each of the 24 hours is there and final (from the first hour ever published on) | red |
| station_id | every key of the day before has a row | a warning |
| sums | the day's sums by what the rows say equal those of the 24 objects | red |
| stream counters | observations published are those that the stream read between two summaries (10 %) | a warning |
| trend | totals within half and twice those of the same weekday of the four weeks before | a warning |
| audits | what the audits of the published hours found | a warning |

`-` is *not evaluated*: there is nothing to compare with. It never counts as passed.

**When it is red.**

| the line says | look at | usual cause |
|---|---|---|
| `missing` | the DAG `compact_hourly`, its log of that hour | it failed, or nothing landed: was the stream running? |
| `provisional` | the stream's shift of that time | the hour was never sealed: a feed holds the watermark back |
| `amending` | the next run of `compact_hourly` | late facts; final again after the next seal |
| `in quarantine` | the DAG `review_quarantine` | rows that failed a critical expectation |
| sums that differ | `millrace check` on the hour's object | rows in the object of another hour |

**Past incidents.** None yet.
"""

with DAG(
    dag_id="quality_daily",
    description="One summary of yesterday for every dataset",
    doc_md=DOCS,
    schedule=policy.nightly(2, 30),
    catchup=False,
    max_active_runs=1,
    tags={policy.QUALITY},
    default_args=policy.default_args(retries=2),
    params={
        "data_docs": Param(
            False,
            type="boolean",
            title="Data Docs",
            description="Also build Great Expectations' pages of the day into the store. They load styles and scripts "
            "from public CDNs.",
        ),
        "day": Param(
            None,
            type=["null", "string"],
            format="date",
            title="Day",
            description="Empty: yesterday. Otherwise a UTC day that has ended.",
        ),
    },
) as dag:

    @task
    def summarise() -> str:
        """The summary of each dataset."""
        return daily_tasks.summarise(get_current_context())

    @task
    def data_docs() -> list[str]:
        """Great Expectations' pages of each hour, when they were asked for."""
        return daily_tasks.data_docs(get_current_context())

    summarise()
    data_docs()
