"""What `millrace up` chose for a home, kept in `<home>/settings.json`: ports, and which feed runs.

Without the file every later command would have to be told the same ports again. The environment is stronger
than the file, and the file stronger than the defaults.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from millrace.feeds.choice import DEFAULT
from millrace.local.credentials import write_private
from millrace.local.errors import StackError
from millrace.settings import DEFAULT_PORTS

STREAMS = "MILLRACE_STREAMS"
"""The streams that the stack runs, separated by commas; those of the catalog with `autostart` unless told otherwise."""
FEED = "MILLRACE_FEED"
"""A feed of the catalog or gbfs:<address>; `millrace feed run default` reads it from the file at every start,
so another feed needs a restart of that program only, and an address is in no argument list."""


def choose(
    env: Mapping[str, str],
    kept: Mapping[str, str],
    port_base: int | None,
    feed: str | None,
    streams: str | None = None,
) -> dict[str, str]:
    """The choices to keep. Ports: MILLRACE_PORT_* of the environment, then `port_base` (its ports are
    base, base + 1, … in the order of DEFAULT_PORTS), then what was kept, then the defaults.

    Raises StackError for a base that leaves the range of ports.
    """
    if port_base is not None and not 1024 <= port_base <= 65535 - len(DEFAULT_PORTS):
        raise StackError(
            f"PORT_BASE={port_base} cannot be used: choose a number from 1024 to {65535 - len(DEFAULT_PORTS)}"
        )
    chosen = {}
    for number, (name, default) in enumerate(DEFAULT_PORTS.items()):
        key = f"MILLRACE_PORT_{name}"
        of_base = str(port_base + number) if port_base is not None else None
        chosen[key] = env.get(key) or of_base or kept.get(key) or str(default)
    chosen[FEED] = feed or env.get(FEED) or kept.get(FEED) or DEFAULT
    chosen[STREAMS] = streams or env.get(STREAMS) or kept.get(STREAMS) or ""
    return chosen


def read_choices(home: Path) -> dict[str, str]:
    """What was chosen before; empty at the first start. Raises StackError when the file is broken."""
    path = home / "settings.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise StackError(f"{path} is not valid JSON ({error}): mend it or delete it") from None
    if not isinstance(content, dict):
        raise StackError(f"{path} must hold names and values: mend it or delete it")
    return {str(name): str(value) for name, value in content.items()}


def keep_choices(home: Path, chosen: Mapping[str, str]) -> None:
    """Write the choices where `settings.load` finds them, leaving other entries as they are."""
    merged = {**read_choices(home), **chosen}
    write_private(home / "settings.json", json.dumps(merged, indent=1) + "\n")
