"""What listens on this machine is asked directly, whatever proxy the shell has for the rest of the world."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping

ADDRESSES = ("127.0.0.1", "localhost")
_NAMES = ("NO_PROXY", "no_proxy")
_PROXIES = ("http_proxy", "https_proxy", "all_proxy")


def no_proxy(env: Mapping[str, str]) -> str:
    """The value that NO_PROXY should have: what it has, and this machine."""
    told = next((env[name] for name in _NAMES if env.get(name)), "")
    named = [part.strip() for part in told.split(",") if part.strip()]
    return ",".join(dict.fromkeys([*ADDRESSES, *named]))


def reach_directly(env: MutableMapping[str, str]) -> None:
    """Have HTTP clients of this process leave the proxy out for this machine. Without a proxy nothing is set: NO_PROXY
    alone would hide the proxies of macOS's own settings from Python."""
    if any(name.lower() in _PROXIES for name in env):
        env.update(dict.fromkeys(_NAMES, no_proxy(env)))
