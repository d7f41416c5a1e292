"""YAML as people write it by hand: safe, quick, and without keys that come twice."""

from __future__ import annotations

from typing import Any

import yaml
from yaml import YAMLError as YAMLError


class _NoKeyTwice(yaml.constructor.SafeConstructor):
    """YAML's own way with a key that comes twice is that the last one stands, and the other is lost without a word."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            # A merge (`<<: *shared`) may come twice, and what it brings may be said again.
            if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                continue
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"{key.value} is there twice", problem_mark=key.start_mark)
            seen.add(key.value)
        made: dict[Any, Any] = super().construct_mapping(node, deep)
        return made


class _Loader(_NoKeyTwice, yaml.SafeLoader):
    pass


class _QuickLoader(_NoKeyTwice, getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Three times as quick: every DAG file and every task reads the catalog. But it shows no line that is wrong."""


def load(text: str) -> Any:
    """What a document says. Raises YAMLError, naming the line, and ValueError for a date that is none."""
    try:
        return yaml.load(text, _QuickLoader)  # noqa: S506 - a safe one
    except YAMLError:
        return yaml.load(text, _Loader)  # noqa: S506
