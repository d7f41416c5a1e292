"""The task that hands a large backlog to Spark, with everything that spark-submit must find."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.sdk.exceptions import AirflowSkipException

from millrace.settings import PROJECT_ROOT
from millrace_airflow import access
from millrace_airflow.compaction_tasks import ordered_backlog

if TYPE_CHECKING:
    from airflow.sdk import Context


class FoldBacklogOperator(SparkSubmitOperator):
    """Submits `spark_apps/fold_backlog.py` for the hours that `plan` has left to Spark; skipped without any.

    The connection says where it runs. The application gets its settings and keys as everything else does, by
    the environment that it inherits: nothing secret is on its command line, which this task logs. An executor
    on another machine needs the same environment and an installed `millrace` there.
    """

    ui_color = "#f5e6d0"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            application=str(PROJECT_ROOT / "spark_apps" / "fold_backlog.py"),
            name="millrace-fold-backlog",
            **kwargs,
        )

    def execute(self, context: Context) -> None:
        from spark_apps.runtime.session import batch_conf

        ordered = ordered_backlog(context)
        if ordered is None:
            raise AirflowSkipException("no more hours are due than mapped tasks publish")
        settings = access.current_settings()
        self.conf = {**batch_conf(settings.home / "spark-batch", settings.spark), **(self.conf or {})}
        self.application_args = ["--run", ordered["run"]]
        super().execute(context)
