"""The task of `stream_control`: between Airflow's form and the function that changes the desired state.

Imported when the task runs.
"""

from __future__ import annotations

import logging
from typing import Any

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowFailException

from millrace_airflow import access

log = logging.getLogger("airflow.task")


def who_triggered(context: Context) -> str:
    """The Airflow user who triggered the run, as far as Airflow says, and the run.

    A run by the scheduler, by `airflow dags trigger` in a shell of another version, or by another DAG has the
    name that Airflow gives it, or none.
    """
    run: Any = context["dag_run"]
    user = getattr(run, "triggering_user_name", None) or "somebody whom Airflow does not name"
    return f"{user} (Airflow, {run.dag_id}, {run.run_id})"


def carry_out_order(context: Context) -> dict[str, str]:
    """Give the order of the form and see it through; fails with the reason when it was refused or did not work."""
    from millrace.catalog import CatalogError
    from millrace.control.follow import follow
    from millrace.control.layout import ControlObjectError
    from millrace.control.order import OrderRefused, give_order, what_is_next
    from millrace.control.reconcile import Reconciler
    from millrace.control.streamhost import log_file
    from millrace.control.supervised import dag_of
    from millrace.control.view import read_view
    from millrace.feeds.choice import supervised_here
    from millrace.settings import SettingsError
    from millrace.store import StoreError

    if context["ti"].try_number > 1:
        # Clearing a run is not giving an order: what it said then may be the opposite of what is right now.
        raise AirflowFailException(
            "this run has been at it before, so nothing was ordered: trigger stream_control anew"
        )
    form = context["params"]
    stream, action, why = form["stream"], form["action"], form["why"].strip()
    who = who_triggered(context)
    try:
        settings = access.current_settings()
        store, streams = access.store_of(settings), supervised_here(settings)
        given = give_order(
            store,
            streams,
            stream,
            action,
            who=who,
            why=why,
            check_reset=lambda spec: access.check_reset(store, settings, spec),
        )
        revision = given.desired.spec_revision
        log.info("%s: %s ordered by %s: %s (revision %d)", stream, action, who, why, revision)
        for change in given.order.changes:
            log.info("  %s", change)
        view = read_view(store, stream, given.desired.at, streams[stream].rules)
        log.info("next: %s", what_is_next(given, view.health))
        path = str(log_file(settings.home, stream))
        reconciler = Reconciler(store, access.launcher_of(settings), streams[stream], who, log_hint=path)
        arrival = follow(reconciler, given, lambda message: log.log(message.level, "%s", message.text))
    except OrderRefused as error:
        raise AirflowFailException(f"{action} was refused, and nothing was changed: {error}") from None
    except (CatalogError, ControlObjectError, SettingsError, StoreError) as error:
        raise AirflowFailException(
            f"{action} of {stream}: {error}. Whether it was ordered says `millrace stream history {stream}`"
        ) from None
    log.info("%s", arrival.says)
    log.info(
        "to look at: the DAG %s, `millrace stream status %s`, what it prints: %s",
        dag_of(stream),
        stream,
        path,
    )
    if arrival.kind in ("failed", "late"):
        raise AirflowFailException(
            f"{action} of {stream} was ordered (revision {revision}) and stays in force, but {arrival.says}. "
            f"The DAG {dag_of(stream)} goes on with it, if it is not paused"
        )
    return {"stream": stream, "action": action, "revision": str(revision), "who": who, "says": arrival.says}
