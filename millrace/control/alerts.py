"""Which alert is due now, once each: pure, remembered in the history so that no restart of anything repeats it.

An incident begins with its first alert and ends when the stream has been healthy for a while (`recovered`), or
when somebody stops it (then nobody is told). Within an incident each kind of alert is sent once.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from millrace.control.desired import DesiredState
from millrace.control.health import Health, Thresholds, in_words
from millrace.control.history import Alert, AlertWord, History
from millrace.control.store_clock import passed
from millrace.supervision import AlertRules

TRIES = 4
FIRST_RETRY = timedelta(minutes=1)
"""After a notifier that failed; doubled each time."""
KEPT_ALERTS = 100
LONGEST_REASON = 1500


def due(
    desired: DesiredState | None,
    health: Health,
    history: History,
    now: datetime,
    thresholds: Thresholds,
    rules: AlertRules | None,
) -> Alert | None:
    """The alert to be sent now, or to be noted without being sent (`quiet`); `health` is on record in `history`."""
    if rules is None or desired is None:
        return None
    incident = open_incident(history)
    if failed := _to_try_again(incident, now):
        return failed
    said = {alert.kind for alert in incident}
    word = _word(desired, health, history, now, thresholds, said)
    if word is None or word in said:
        return None
    if word not in ("recovered", "closed") and word not in rules.on:
        return None
    return Alert(
        kind=word,
        at=now,
        tried_at=now,
        text=_text(word, desired, health, history, incident, now),
        quiet=word not in rules.on,
    )


def open_incident(history: History) -> Sequence[Alert]:
    """The alerts of the incident that is going on, oldest first; none when there is none."""
    for number, alert in reversed(list(enumerate(history.alerts))):
        if alert.kind in ("recovered", "closed") and not _is_to_try_again(alert):
            return history.alerts[number + 1 :]
    return history.alerts


def with_alert(history: History, alert: Alert) -> History:
    """The history in which an alert is claimed: before it is sent, so that no two tasks send it."""
    alerts = [alert if _same(one, alert) else one for one in history.alerts]
    if alert not in alerts:
        alerts.append(alert)
    return history.model_copy(update={"alerts": tuple(alerts[-KEPT_ALERTS:])})


def claimed(before: History, after: History) -> Alert | None:
    """The alert that was claimed between two states of the history, if it is to be sent."""
    known = {(alert.kind, alert.at, alert.tries) for alert in before.alerts}
    new = [one for one in after.alerts if (one.kind, one.at, one.tries) not in known and not one.quiet]
    return new[-1] if new else None


def with_outcome(history: History, alert: Alert, problem: str | None) -> History:
    """The history in which it stands whether a claimed alert was sent."""
    done = {"sent": problem is None, "problem": problem}
    alerts = tuple(one.model_copy(update=done) if _same(one, alert) else one for one in history.alerts)
    return history.model_copy(update={"alerts": alerts})


def _same(one: Alert, other: Alert) -> bool:
    return (one.kind, one.at) == (other.kind, other.at)


def _word(
    desired: DesiredState,
    health: Health,
    history: History,
    now: datetime,
    thresholds: Thresholds,
    said: set[AlertWord],
) -> AlertWord | None:
    if desired.state == "stopped":
        return "closed" if said else None
    if history.circuit is not None and "circuit_open" not in said:
        return "circuit_open"
    if health.state == "stalled":
        return "stalled"
    if health.state == "lagging":
        return "lagging"
    if health.state == "trying":
        return None
    if not health.healthy:
        since = down_since(history)
        return "down" if since is not None and passed(since, thresholds.down_after, now) else None
    last = history.last_health
    well = last is not None and last.healthy and passed(last.at, thresholds.recovered_after, now)
    return "recovered" if said and well and history.circuit is None else None


def down_since(history: History) -> datetime | None:
    """Since when the stream has not been at work, as far as it is on record; a version that was tried was so on
    purpose, and what followed counts for itself."""
    since = None
    for change in reversed(history.health):
        if change.healthy or change.state in ("lagging", "stalled", "trying"):
            break
        since = change.at
    return since


def _to_try_again(incident: Sequence[Alert], now: datetime) -> Alert | None:
    for alert in incident:
        if _is_to_try_again(alert) and passed(alert.tried_at, FIRST_RETRY * 2 ** (alert.tries - 1), now):
            again = {"tries": alert.tries + 1, "tried_at": now, "problem": None}
            return alert.model_copy(update=again)
    return None


def _is_to_try_again(alert: Alert) -> bool:
    """Only what is known not to have been sent: whoever died while sending may have sent it."""
    return alert.problem is not None and not alert.sent and alert.tries < TRIES


def _text(
    word: AlertWord,
    desired: DesiredState,
    health: Health,
    history: History,
    incident: Sequence[Alert],
    now: datetime,
) -> str:
    reason = health.reason if len(health.reason) <= LONGEST_REASON else f"{health.reason[:LONGEST_REASON]} …"
    match word:
        case "down":
            since = down_since(history) or now
            return (
                f"It has not been at work since {since:%Y-%m-%d %H:%M:%S} UTC: {health.state}: {reason}. Starts are "
                "tried with a growing back-off"
            )
        case "circuit_open" if history.circuit is not None:
            circuit = history.circuit
            return (
                f"{circuit.failures} starts in a row did not last, so it is tried rarely from now on. The last one was "
                f"made because {circuit.reason[:LONGEST_REASON]}. Once the cause is mended, order start, restart or "
                "redeploy: it is tried at once"
            )
        case "recovered":
            return (
                f"It is {health.state} again ({reason}), after {in_words(now - incident[0].at)}"
                if incident
                else f"It is {health.state} again ({reason})"
            )
        case "closed":
            return f"{desired.who} stopped it: {desired.why}"
    return reason
