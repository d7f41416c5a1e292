"""Whether what runs is another version than the one that would be deployed now: by its entry, or its code."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from millrace.catalog import StreamSpec
from millrace.control.code_version import code_version
from millrace.control.desired import DesiredState
from millrace.control.status import StatusObservation
from millrace.control.supervised import Supervised, spec_of
from millrace.settings import PROJECT_ROOT


def outdated(spec: Supervised, desired: DesiredState | None, status: StatusObservation | None) -> list[str]:
    """What of the catalog's entry differs from what is deployed, and of the code from what runs, in words."""
    if desired is None:
        return []
    of_code = code_difference(spec.app, status) if isinstance(spec, StreamSpec) else []
    return differences(desired.config, config_of(spec)) + of_code


def config_of(spec: Supervised) -> dict[str, Any]:
    """A catalog entry as it is kept in the desired state: JSON, durations as text."""
    return spec.model_dump(mode="json")


def differences(deployed: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Which keys differ, with both values; a key that one side leaves out stands for its default."""
    with suppress(ValueError):
        deployed = config_of(spec_of(deployed))
    keys = sorted(deployed.keys() | wanted.keys())
    return [
        f"{key}: {deployed.get(key)!r} is deployed, the catalog says {wanted.get(key)!r}"
        for key in keys
        if deployed.get(key) != wanted.get(key)
    ]


def code_difference(app: str, status: StatusObservation | None, root: Path = PROJECT_ROOT) -> list[str]:
    """That the newest driver runs other code than is there now; nothing when it does not, or has ended."""
    if status is None or status.status.ended or status.status.code is None:
        return []
    now = code_version(app, root)
    if now is None or now == status.status.code:
        return []
    return [f"code: {status.status.code} runs, {now} is there now"]
