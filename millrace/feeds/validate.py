"""Checking a feed of `catalog/feeds.yaml` against its kind: every mistake is named with its key."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import ValidationError

from millrace.catalog import CatalogError, FeedSpec
from millrace.feeds.kinds import KINDS
from millrace.feeds.option_types import FeedOptions
from millrace.feeds.options import GbfsSystem

OptionsModel = TypeVar("OptionsModel", bound=FeedOptions)


def validate_feed(spec: FeedSpec) -> None:
    """Check a feed's kind and options. Raises CatalogError naming the key and what would be right."""
    if spec.kind not in KINDS:
        raise CatalogError(
            f"feeds.yaml: {spec.name}.kind is {spec.kind!r}; the kinds are: {', '.join(sorted(KINDS))}"
        )
    parse_options(spec, KINDS[spec.kind].options)


def parse_options(spec: FeedSpec, model: type[OptionsModel]) -> OptionsModel:
    """A feed's options as the model of its kind. Raises CatalogError."""
    try:
        return model.model_validate(spec.options)
    except ValidationError as error:
        problems = "; ".join(_explained(spec, model, problem) for problem in error.errors())
        raise CatalogError(problems) from None


def _explained(spec: FeedSpec, model: type[FeedOptions], problem: Any) -> str:
    key = ".".join([spec.name, "options", *(str(part) for part in problem["loc"])])
    if problem["type"] == "extra_forbidden":
        if spec.kind == "seoul" and "key" in str(problem["loc"][-1]).lower():
            # The value is not repeated: it is probably the key itself.
            return f"feeds.yaml: {key}: the key belongs in the environment, SEOUL_API_KEY, not in a file"
        known = ", ".join(model.model_fields if len(problem["loc"]) == 1 else GbfsSystem.model_fields)
        return f"feeds.yaml: {key} is not known to kind {spec.kind!r}; it knows: {known}"
    if problem["type"] == "missing":
        return f"feeds.yaml: {key} is missing"
    return f"feeds.yaml: {key}: {problem['msg'].removeprefix('Value error, ')} (found {problem['input']!r})"
