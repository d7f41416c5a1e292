"""Hours in quarantine are shown to a person, who approves or rejects exactly that content, with a reason."""

from __future__ import annotations

from airflow.sdk import DAG, task
from millrace_airflow import policy, review

DOCS = """
### review_quarantine

`compact_hourly` does not publish an hour that fails a critical expectation: it goes to quarantine. This DAG
asks a person about each such hour.

**How to use it.** *Trigger* it. `find` lists what waits; `ask` is one question per hour, under *Required
Actions*: it shows the failing rows and asks for *Approve* or *Reject* and a reason.

- **Approve**: the rows are right. `approvals/<dataset>/<hour>/<sha256>.json` is written, with who, when and why,
  and the next run of `compact_hourly` (or one by hand) publishes exactly this content. If a newer fact
  changes the hour in the meantime, it is judged anew.
- **Reject**: the rows are wrong. The decision is kept beside the entry in `quarantine/`, and the hour is not asked
  about again. It stays out until newer facts mend it, or until the landing objects that brought the rows are
  moved aside (copy, then delete).
- **Decide later**, or no answer within 24 hours: nothing changes, and the next run asks again.

There are two more ways out that need no decision: a newer fact that mends the rows, and a changed suite
(`expectations/<dataset>.json`).

**When it is red.** An answer was given without a reason (trigger it again), or the store was away.

**Past incidents.** None yet.
"""

with DAG(
    dag_id="review_quarantine",
    description="Asks a person about hours that failed a critical expectation",
    doc_md=DOCS,
    schedule=None,
    start_date=policy.START,
    catchup=False,
    max_active_runs=1,
    tags={policy.QUALITY},
    # No retries: a repeat would ask again what was answered.
    default_args=policy.default_args(retries=0),
) as dag:

    @task(retries=2)
    def find() -> list[dict[str, str]]:
        """Which hours wait for a decision."""
        return review.find_waiting()

    review.ReviewQuarantineOperator.partial(
        task_id="ask", map_index_template="{{ task.entry['name'] }}"
    ).expand(entry=find())
