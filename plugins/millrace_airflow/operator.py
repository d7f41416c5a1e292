"""The task that owns a stream for one shift, and holds a worker only while there is something to do."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from millrace_airflow.trigger import StreamTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context

    from millrace.control.history import Alert
    from millrace.control.reconcile import Turn
    from millrace.control.shift import Shift, ShiftReport
    from millrace.control.supervised import Supervised

AFTER_AN_ERROR = timedelta(seconds=60)
MOST_LIVES_COUNTED = 50
"""Of a shift's drivers the last so many are read for its report; more means a crash loop anyway."""


class SuperviseStreamOperator(BaseOperator):
    """Brings a stream to its desired state, waits in the triggerer, and reports at the end of the shift.

    Whatever goes wrong, the shift lasts its full length and fails at its end: its DAG is @continuous, so a
    run that failed at once would begin again at once. A stream does not depend on this task: clearing,
    marking or killing it, pausing the DAG or stopping Airflow leave the driver as it is.
    """

    ui_color = "#d8ecf3"

    def __init__(self, *, spec: Supervised, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.spec = spec

    def execute(self, context: Context) -> dict[str, Any]:
        return self._turn(context, None, None)

    def resume(
        self,
        context: Context,
        event: dict[str, Any] | None = None,
        shift: dict[str, Any] | None = None,
        **_: Any,
    ) -> dict[str, Any]:
        """Airflow calls this after the trigger has fired; `shift` is what was given to `defer`."""
        return self._turn(context, event or {}, shift)

    def on_kill(self) -> None:
        """Nothing: a stream lives by its desired state, not by this task."""

    def _turn(
        self, context: Context, event: dict[str, Any] | None, begun: dict[str, Any] | None
    ) -> dict[str, Any]:
        from millrace.control.shift import Shift

        if event is not None:
            self.log.info("%s: woken: %s", self.spec.name, event.get("reason", "for no stated reason"))
        turn, problem = self._try(context)
        now = datetime.now(UTC)
        if begun is None:
            shift = Shift.begin(now, self.spec.shift, random.random(), turn.view if turn else None)
        else:
            shift = Shift.from_json(begun)
            shift = replace(shift, largest_lag=max(shift.largest_lag, (event or {}).get("largest_lag") or 0))
        if now < shift.ends_at:
            self.log.info(
                "%s: watching until %s UTC; the log goes on here when something must be done",
                self.spec.name,
                f"{shift.ends_at:%H:%M:%S}",
            )
            self._wait(shift, turn, now)
        return self._end(context, shift, turn, problem)

    def _wait(self, shift: Shift, turn: Turn | None, now: datetime) -> NoReturn:
        quiet_for = turn.quiet_for if turn else AFTER_AN_ERROR
        desired = turn.view.desired if turn else None
        self.defer(
            trigger=StreamTrigger(
                stream=self.spec.name,
                shift_ends_at=shift.ends_at.isoformat(),
                seen_revision=desired.spec_revision if desired else None,
                quiet_until=(now + quiet_for).isoformat(),
                rules=self.spec.rules.model_dump(mode="json"),
            ),
            method_name="resume",
            kwargs={"shift": shift.to_json()},
        )

    def _try(self, context: Context) -> tuple[Turn | None, str | None]:
        """One turn of supervision, or why there was none. Never raises: see the class."""
        from millrace.control.last_lines import last_lines
        from millrace.control.layout import ControlObjectError
        from millrace.control.reconcile import Reconciler
        from millrace.control.streamhost import log_file
        from millrace.settings import SettingsError
        from millrace.store import StoreError
        from millrace_airflow import access

        run_id = context["run_id"]
        try:
            settings = access.current_settings()
            log = log_file(settings.home, self.spec.name)
            turn = Reconciler(
                store=access.store_of(settings),
                launcher=access.launcher_of(settings),
                spec=self.spec,
                who=f"Airflow, {self.dag_id}, {run_id}",
                log_hint=str(log),
                sends_alerts=True,
                last_lines=lambda started_again: last_lines(
                    log, started_again=started_again, hide=settings.secrets
                ),
            ).turn()
        except (StoreError, ControlObjectError, SettingsError) as error:
            problem = f"supervision cannot work: {error}"
            self.log.error("%s: %s. The driver is left as it is", self.spec.name, problem)
            return None, problem
        except Exception as error:
            problem = f"supervision failed with {type(error).__name__}: {error}"
            self.log.exception("%s: %s. The driver is left as it is", self.spec.name, problem)
            return None, problem
        for message in turn.messages:
            self.log.log(message.level, "%s", message.text)
        if turn.alert is not None:
            self._alert(turn, turn.alert)
        return turn, None

    def _alert(self, turn: Turn, alert: Alert) -> None:
        """Send what was claimed, and keep whether that worked. Never raises: supervision goes on without it."""
        from millrace.control.alerts import with_outcome
        from millrace.control.history import change_history
        from millrace_airflow import access

        name, rules = self.spec.name, self.spec.alerts
        if rules is None:
            return
        try:
            from millrace_airflow.notifier import send

            problem = send(name, alert, rules.connection, self._where_to_look(turn))
        except Exception as error:
            problem = f"the notifier cannot be used: {type(error).__name__}: {error}"
        if problem is None:
            self.log.info("%s: alert sent: %s: %s", name, alert.kind, alert.text)
        else:
            self.log.error(
                "%s: alert NOT sent (try %d): %s: %s. Supervision goes on",
                name,
                alert.tries,
                alert.kind,
                problem,
            )
        try:
            store = access.store_of(access.current_settings())
            change_history(store, name, lambda history: with_outcome(history, alert, problem))
        except Exception as error:
            self.log.warning("%s: whether the alert was sent is not in its history: %s", name, error)

    def _where_to_look(self, turn: Turn) -> str:
        from millrace.control.supervised import dag_of

        ui = turn.view.status.status.spark_ui if turn.view.status else None
        return (
            f"To look at: the DAG {dag_of(self.spec.name)}, `millrace stream status {self.spec.name}`"
            f"{f', its Spark UI {ui}' if ui else ''}; what each state means: docs/supervision.md"
        )

    def _end(self, context: Context, shift: Shift, turn: Turn | None, problem: str | None) -> dict[str, Any]:
        done = None
        if turn is not None:
            done, problem = self._report(shift, turn)
        if done is None:
            raise AirflowFailException(
                f"{self.spec.name}: at the end of the shift {problem}. Nothing was done to the stream; "
                "the next shift goes on trying"
            )
        for line in done.lines():
            self.log.info("%s", line)
        if done.red:
            context["ti"].xcom_push(key="return_value", value=done.to_json())
            open_circuit = f"its circuit is {done.circuit}; and it " if done.circuit else ""
            raise AirflowFailException(
                f"{self.spec.name}: {open_circuit}was unhealthy for {done.unhealthy_seconds:.0f} s of this shift "
                f"(allowed: {done.budget_seconds:.0f} s): {'; '.join(done.spells[-5:])}. "
                "The next shift goes on supervising; what to do is in the DAG's docs"
            )
        return done.to_json()

    def _report(self, shift: Shift, turn: Turn) -> tuple[ShiftReport | None, str | None]:
        from millrace.control.history import keep_shift
        from millrace.control.layout import ControlObjectError
        from millrace.control.shift import report
        from millrace.control.status import read_statuses
        from millrace.control.streamhost import log_file
        from millrace.store import StoreError
        from millrace_airflow import access

        lives = turn.view.newest_epoch - shift.epoch + 1
        try:
            settings = access.current_settings()
            store = access.store_of(settings)
            statuses = read_statuses(store, self.spec.name, newest=min(max(lives, 1), MOST_LIVES_COUNTED))
        except (StoreError, ControlObjectError) as error:
            return None, f"the drivers' statuses cannot be read: {error}"
        now = datetime.now(UTC)
        log = str(log_file(settings.home, self.spec.name))
        done = report(shift, turn.view, statuses, now - shift.started_at, log)
        try:
            keep_shift(store, self.spec.name, done.to_entry(shift.started_at, now))
        except (StoreError, ControlObjectError) as error:
            self.log.warning("%s: the report is not in `millrace stream history`: %s", self.spec.name, error)
        return done, None
