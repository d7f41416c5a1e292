"""When supervision must wake an Airflow task for a stream: the watching half, judged from the store alone."""

from __future__ import annotations

from datetime import timedelta

from millrace.control.alerts import due
from millrace.control.decide import decide
from millrace.control.health import Health
from millrace.control.history import HealthChange, circuit_can_close
from millrace.control.store_clock import passed
from millrace.control.view import StreamView

SETTLED_AFTER = timedelta(seconds=20)
"""A health that came this shortly after the last change on record waits for the next look: a stream that
flaps would otherwise start an Airflow task (2-3 s of CPU) at each turn."""


def what_needs_attention(
    view: StreamView | None, seen_revision: int | None, *, quiet: bool = False
) -> str | None:
    """Why somebody must act or take note now, or None.

    `seen_revision` is the last one acted upon, 0 for none, None when the last attempt to act failed and is
    to be repeated; while `quiet`, only a change of the desired state counts.
    """
    if seen_revision is None:
        return None if quiet else "the last attempt to supervise it failed; trying again"
    if view is None or view.desired is None:
        return "its desired state is gone from the store" if seen_revision else "it has not been deployed"
    desired = view.desired
    if desired.spec_revision != seen_revision:
        return (
            f"{desired.who} changed its desired state to {desired.state} "
            f"(revision {desired.spec_revision}): {desired.why}"
        )
    if quiet:
        return None
    action = decide(desired, view.observed(), view.history, view.now, view.thresholds)
    if action.is_order:
        return f"to {action.kind}: {action.reason}"
    known = view.history.last_health
    health = view.health
    if known is None:
        return str(health)
    if _turned(known, health) and passed(known.at, SETTLED_AFTER, view.now):
        return str(health)
    if circuit_can_close(view.history, view.now):
        return "it has been healthy for long enough to close the circuit"
    if alert := due(desired, health, view.history, view.now, view.thresholds, view.rules.alerts):
        return f"{alert.kind}: {alert.text}"
    return None


def _turned(known: HealthChange, health: Health) -> bool:
    """Whether it is well now or is not, other than on record, or is not well in a way that people want to know."""
    if known.healthy != health.healthy:
        return True
    notable = {"lagging", "stalled", "trying"} & {known.state, health.state}
    return not health.healthy and bool(notable) and known.state != health.state
