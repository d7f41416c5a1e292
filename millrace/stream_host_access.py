"""How a stream host is reached: the unix socket of its own machine, or a network with a login.

The host's RPC is the right to run commands as its user. So on a network it listens only when it is told to, never
without a name and a password, and belongs on a network of its own: the password travels as plain text.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from millrace.settings_error import SettingsError

AT, LISTEN = "MILLRACE_STREAMHOST", "MILLRACE_STREAMHOST_LISTEN"
USERNAME, PASSWORD = "MILLRACE_STREAMHOST_USERNAME", "MILLRACE_STREAMHOST_PASSWORD"
_PLACE = re.compile(r"(?P<host>[^:/\s]+|\[[0-9a-fA-F:]+\]):(?P<port>\d{1,5})")


@dataclass(frozen=True)
class StreamHostAccess:
    """Both places are HOST:PORT. The password is left out of `repr`."""

    at: str | None = None
    """Where clients find the host; None: in the unix socket of MILLRACE_HOME."""
    listen: str | None = None
    """Where the host listens besides its unix socket."""
    username: str | None = None
    password: str | None = field(default=None, repr=False)


LOCAL = StreamHostAccess()
"""The stream host of this machine, which only this user can reach."""


def read_access(value: Callable[[str], str | None], secret: Callable[[str], str | None]) -> StreamHostAccess:
    """The settings MILLRACE_STREAMHOST*. Raises SettingsError for what does not go together.

    `value` gives an ordinary setting, `secret` one that is never kept with the others.
    """
    at, listen = value(AT), value(LISTEN)
    username, password = value(USERNAME), secret(PASSWORD)
    for name, place in ((AT, at), (LISTEN, listen)):
        if place is None:
            continue
        found = _PLACE.fullmatch(place)
        if found is None or not 0 < int(found["port"]) < 65536:
            raise SettingsError(f"{name}={place!r}: it must be HOST:PORT, such as streamhost:9001")
        if not username or not password:
            raise SettingsError(
                f"{name} is set, but {PASSWORD if username else USERNAME} is not: whoever reaches the stream host "
                "without a login can run commands there; set both, to the same on the host and for Airflow's tasks"
            )
    return StreamHostAccess(at, listen, username, password)
