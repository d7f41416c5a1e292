"""The DAG that supervises a stream or a feed: one shift after the other, for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import DAG

from millrace.control.supervised import dag_of
from millrace_airflow import policy
from millrace_airflow.operator import SuperviseStreamOperator

if TYPE_CHECKING:
    from millrace.control.supervised import Supervised


def shifts_of(
    spec: Supervised, *, description: str, doc_md: str, begins: bool, priority_weight: int = 1
) -> DAG:
    """Runs that follow each other without a pause, one at a time. `begins`: whether it is not paused at first."""
    with DAG(
        dag_id=dag_of(spec.name),
        description=description,
        doc_md=doc_md,
        schedule="@continuous",
        start_date=policy.START,
        catchup=False,
        max_active_runs=1,
        is_paused_upon_creation=not begins,
        tags={policy.STREAM},
        # Retries are for what hits the task itself, such as a trigger that cannot be loaded: a run that
        # failed at once would be followed by the next one at once.
        default_args=policy.default_args(retries=3),
    ) as dag:
        SuperviseStreamOperator(task_id="supervise", spec=spec, priority_weight=priority_weight)
    return dag
