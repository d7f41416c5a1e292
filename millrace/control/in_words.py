"""A stream's health and history as lines for a person. Pure: what was read goes in, text comes out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import zip_longest

from millrace.control import exit_codes
from millrace.control.alerts import open_incident
from millrace.control.decide import decide
from millrace.control.health import in_words
from millrace.control.history import Alert, History, ShiftEntry
from millrace.control.orders import StoredOrder, took_effect
from millrace.control.outdated import outdated
from millrace.control.process import ProcessInfo
from millrace.control.status import DriverStatus
from millrace.control.supervised import Supervised
from millrace.control.view import StreamView


@dataclass(frozen=True)
class Known:
    """Everything that is known of a stream. `host_problem`: why `process` is not."""

    spec: Supervised
    view: StreamView
    process: ProcessInfo | None = None
    host_problem: str | None = None
    statuses: Sequence[DriverStatus] = field(default=())
    orders: Sequence[StoredOrder] = field(default=())

    @property
    def outdated(self) -> list[str]:
        return outdated(self.spec, self.view.desired, self.view.status)


def status_lines(known: Known) -> list[str]:
    """Health with its reason, what is desired and by whom, the numbers, and what happens next."""
    view, health, desired = known.view, known.view.health, known.view.desired
    lines = [f"{view.stream} is {health}"]
    if desired is None:
        lines.append(_row("desired", "never deployed; its DAG deploys it, or `millrace stream start` does"))
        return lines
    lines.append(
        _row(
            "desired",
            f"{desired.state} (revision {desired.spec_revision}), by {desired.who} at "
            f"{desired.at:%Y-%m-%d %H:%M} UTC: {desired.why}",
        )
    )
    lines.append(_row("process", known.host_problem or _process(known.process)))
    lines += [_row(name.replace("_", " "), _number(value)) for name, value in health.numbers.items()]
    if known.outdated:
        lines.append(
            _row(
                "outdated",
                f"{'; '.join(known.outdated)}. Deployed by `millrace stream redeploy {view.stream}`",
            )
        )
    if circuit := view.history.circuit:
        lines.append(_row("circuit", str(circuit)))
    lines += [_row("alert", str(alert)) for alert in open_incident(view.history) if not alert.quiet]
    last = view.history.last_start
    if last is not None:
        lines.append(
            _row("last start", f"{last.at:%Y-%m-%d %H:%M:%S} UTC, attempt {last.attempt}: {last.reason}")
        )
    action = decide(
        desired,
        view.observed(known.process, known.host_problem),
        view.history,
        view.now,
        view.thresholds,
    )
    word = {"leave": "nothing to do", "wait": "wait"}.get(action.kind, action.kind)
    lines.append(_row("next", word if action.reason == health.reason else f"{word}: {action.reason}"))
    return lines


def as_json(known: Known) -> dict[str, object]:
    """The same for programs; times are UTC in ISO 8601."""
    view, health = known.view, known.view.health
    return {
        "stream": view.stream,
        "health": health.state,
        "healthy": health.healthy,
        "reason": health.reason,
        "numbers": health.numbers,
        "desired": view.desired.model_dump(mode="json") if view.desired else None,
        "process": str(known.process.state) if known.process else None,
        "host_problem": known.host_problem,
        "outdated": known.outdated,
        "circuit": view.history.circuit.model_dump(mode="json") if view.history.circuit else None,
        "attempt": view.history.last_start.attempt if view.history.last_start else 0,
        "spark_ui": view.status.status.spark_ui if view.status else None,
    }


def history_lines(known: Known, shifts: int) -> list[str]:
    """Orders, lives of drivers and shifts, each oldest first."""
    present = known.view.desired.spec_revision if known.view.desired else 0
    return [
        "orders (UTC)",
        *(_orders(known.orders, present) or ["  none"]),
        "",
        "lives of drivers (UTC)",
        *([_life(status, known.view.history) for status in known.statuses] or ["  none"]),
        "",
        "alerts (UTC)",
        *([f"  {alert}" for alert in _sent(known.view.history, shifts)] or ["  none"]),
        "",
        "shifts (UTC)",
        *([_shift(shift) for shift in known.view.history.shifts[-shifts:]] or ["  none"]),
    ]


def _sent(history: History, newest: int) -> list[Alert]:
    return [alert for alert in history.alerts if not alert.quiet][-newest:]


def _orders(stored: Sequence[StoredOrder], present: int) -> list[str]:
    lines = []
    for one, following in zip_longest(stored, stored[1:]):
        order = one.order
        line = (
            f"  {order.at:%Y-%m-%d %H:%M:%S}  {order.action:<8}  revision {order.spec_revision}  "
            f"by {order.who}: {order.why}"
        )
        if not took_effect(order, following.order if following else None, present):
            line += "; it never came into force"
        lines.append(line)
        lines += [f"      {change}" for change in order.changes]
        if one.outcome is not None:
            lines.append(f"      {one.outcome.outcome}: {one.outcome.says}")
    return lines


def _life(status: DriverStatus, history: History) -> str:
    lived = in_words(max(status.heartbeat_at - status.started_at, timedelta(0)))
    end = status.state if status.ended else f"{status.state}, last heard of at {status.heartbeat_at:%H:%M:%S}"
    if status.exit_code is not None:
        end += f" ({exit_codes.in_words(status.exit_code)})"
    causes = [start.reason for start in history.starts if start.epoch_before + 1 == status.driver_epoch]
    line = (
        f"  {status.started_at:%Y-%m-%d %H:%M:%S}  epoch {status.driver_epoch:<4}  revision {status.spec_revision:<3}  "
        f"{lived:>7}  {status.batches:,} batches, {status.records:,} records; {end}"
    )
    if causes:
        line += f"; started because {causes[-1]}"
    return f"{line}\n      {status.error.splitlines()[0]}" if status.error else line


def _shift(shift: ShiftEntry) -> str:
    return (
        f"  {shift.began_at:%Y-%m-%d %H:%M:%S}  {'red  ' if shift.red else 'green'}  "
        f"{shift.records:,} records in {shift.batches:,} batches, {shift.restarts} driver starts, largest lag "
        f"{shift.largest_lag:,}, unhealthy for {in_words(timedelta(seconds=shift.unhealthy_seconds))}; at its end "
        f"{shift.state}: {shift.reason}"
    )


def _process(process: ProcessInfo | None) -> str:
    if process is None:
        return "not known"
    if process.pid is not None and process.since is not None:
        return f"{process.state}, pid {process.pid}, for {in_words(process.host_now - process.since)}"
    ended = f": {exit_codes.in_words(process.exit_code)}" if process.exit_code is not None else ""
    return f"{process.state}{ended}"


def _number(value: object) -> str:
    if value is None:
        return "not known"
    return f"{value:,}" if isinstance(value, int | float) else str(value)


def _row(name: str, text: str) -> str:
    return f"  {name:<22}{text}"
