"""Options of a feed without what must stay secret: users, passwords and queries of addresses.

A feed's options are written to the object store, where its desired state is; a key in an address is not. Whoever
runs the feed has it from the catalog or the settings of their own machine, and fills it in again.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit, urlunsplit

HIDDEN = "***"


def without_secrets(options: Any) -> Any:
    """The same with the secret parts of addresses hidden, in lists and mappings too."""
    if isinstance(options, dict):
        return {key: without_secrets(value) for key, value in options.items()}
    if isinstance(options, list | tuple):
        return [without_secrets(value) for value in options]
    return _hidden(options) if isinstance(options, str) and "://" in options else options


def has_hidden(options: Any) -> bool:
    """Whether something was hidden in these."""
    if isinstance(options, dict):
        return any(has_hidden(value) for value in options.values())
    if isinstance(options, list | tuple):
        return any(has_hidden(value) for value in options)
    return isinstance(options, str) and HIDDEN in options


def _hidden(address: str) -> str:
    try:
        parts = urlsplit(address)
    except ValueError:
        return HIDDEN
    before, at, host = parts.netloc.rpartition("@")
    return urlunsplit(
        parts._replace(
            netloc=f"{HIDDEN}@{host}" if at and before else host,
            query=HIDDEN if parts.query else "",
            fragment=HIDDEN if parts.fragment else "",
        )
    )
