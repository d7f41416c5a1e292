"""Sends an alert through the apprise provider: e-mail, chat, webhooks, by the URLs in an Airflow connection.

Imported when there is something to send.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import apprise
from airflow.providers.apprise.notifications.apprise import AppriseNotifier
from airflow.sdk.exceptions import AirflowNotFoundException

if TYPE_CHECKING:
    from millrace.control.history import Alert

TITLES = {
    "down": ("is down", apprise.NotifyType.FAILURE),
    "circuit_open": ("fails again and again", apprise.NotifyType.FAILURE),
    "stalled": ("is stalled", apprise.NotifyType.WARNING),
    "lagging": ("falls behind", apprise.NotifyType.WARNING),
    "recovered": ("has recovered", apprise.NotifyType.SUCCESS),
}


class NotSent(Exception):
    """The message has not reached everybody it is for; says why, without the addresses."""


class CheckedNotifier(AppriseNotifier):
    """The provider's notifier drops apprise's word on whether anything was sent; this one raises NotSent."""

    def notify(self, context: Any) -> None:  # noqa: ARG002
        sender = apprise.Apprise()
        try:
            connection = self.hook.get_connection(self.apprise_conn_id)
            self.hook.set_config_from_conn(conn=connection, apprise_obj=sender)
        except (KeyError, TypeError, ValueError):
            raise NotSent(
                f"the Airflow connection {self.apprise_conn_id!r} has no usable `config`: a list such as "
                '[{"path": "<service URL>", "tag": "alerts"}] (docs/supervision.md)'
            ) from None
        if not len(sender):
            raise NotSent(f"apprise understands none of the URLs in the connection {self.apprise_conn_id!r}")
        # apprise names hosts in what it logs, but neither keys nor whole URLs.
        with apprise.LogCapture(level=logging.WARNING) as said:
            done = sender.notify(
                body=self.body, title=self.title or "", notify_type=self.notify_type, tag=self.tag
            )
            words = said.getvalue().strip()
        if not done:
            raise NotSent(words[-500:] or "apprise could not send it, and says no more")


def send(stream: str, alert: Alert, connection: str, details: str) -> str | None:
    """Send one alert; returns why it could not be sent, or None. Never raises."""
    words, kind = TITLES[alert.kind]
    try:
        notifier = CheckedNotifier(
            title=f"Millrace: {stream} {words}",
            body=f"{alert.text}.\n\nSince {alert.at:%Y-%m-%d %H:%M:%S} UTC. {details}",
            notify_type=kind,
            apprise_conn_id=connection,
        )
        # Not by calling the notifier: that renders title and body as templates, and the words of a driver that
        # failed are not ours.
        notifier.notify({})
    except AirflowNotFoundException:
        entry = stream.removeprefix("feed-")
        return f"there is no Airflow connection {connection!r} (in the catalog: {entry}.alerts.connection)"
    except NotSent as problem:
        return str(problem)
    except Exception as error:
        # Whatever a notifier of a third party raises: its words might hold an address with a key in it.
        return f"the notifier failed with {type(error).__name__}"
    return None
