"""Suites: what a dataset's hours must be like, one JSON file per dataset in `expectations/`.

Everything that could make an expectation silently not count is refused when the file is loaded, with file
and line: Great Expectations itself drops a misspelt expectation and lets an empty suite pass.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from millrace.quality import great
from millrace.quality.located_json import DuplicateKey, line_of, loads
from millrace.quality.views import views_of
from millrace.settings import expectations_dir

if TYPE_CHECKING:
    from millrace.catalog import DatasetSpec

EXPECTATIONS_DIR = expectations_dir()
PARAMETERS = ("hour", "hour_end")
"""What `{"$PARAMETER": ...}` may name: the first moment of the hour, and of the next one."""
COLUMN_ARGUMENTS = ("column", "column_A", "column_B", "column_list", "column_set")


class SuiteError(ValueError):
    """A suite cannot be used; the message names file and line and says what would be right."""


class Expected(BaseModel):
    """One expectation: a Great Expectations type and its arguments, on one view of the hour."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    says: str = Field(min_length=1)
    """The expectation in a person's words."""
    severity: Literal["critical", "warning"]
    view: str
    type: str
    kwargs: dict[str, Any]
    unless_without_facts: bool = False
    """Not evaluated for an hour that is sealed and never had a fact: it is rightly empty."""

    @property
    def parameters(self) -> set[str]:
        """The names that `{"$PARAMETER": name}` mentions in the arguments."""
        return set(_parameters(self.kwargs))


class Suite(BaseModel):
    """A dataset's expectations, all of them known to Great Expectations."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    dataset: str
    expectations: tuple[Expected, ...]

    @property
    def digest(self) -> str:
        """Names the suite's content (16 hex digits): a changed suite judges anew."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def suite_file(dataset: str, directory: Path | None = None) -> Path:
    """Where the suite of a dataset is; without a directory, in the project's own."""
    return (directory or EXPECTATIONS_DIR) / f"{dataset}.json"


def load_suite(path: Path, dataset: DatasetSpec) -> Suite:
    """Read and check a suite. Raises SuiteError. The first call imports Great Expectations (some 6 s)."""
    try:
        text = path.read_text(encoding="utf-8")
        document = loads(text)
    except FileNotFoundError:
        there = ", ".join(sorted(file.stem for file in path.parent.glob("*.json"))) or "none"
        raise SuiteError(f"{path} is missing; suites that are there: {there}") from None
    except DuplicateKey as error:
        raise SuiteError(f"{path}, line {error.line}: {error}; remove one") from None
    except json.JSONDecodeError as error:
        raise SuiteError(f"{path}, line {error.lineno}: not JSON: {error.msg}") from None
    try:
        suite = Suite.model_validate(document)
    except ValidationError as error:
        raise SuiteError("\n".join(_explained(path, document, one) for one in error.errors())) from None
    problems = list(_problems(suite, dataset))
    if not problems:  # only now worth the import
        problems = [
            ((*("expectations", number), *at), text)
            for number, one in enumerate(suite.expectations)
            for at, text in great.problems(one.type, one.kwargs, one.severity)
        ]
    if problems:
        raise SuiteError("\n".join(f"{path}, line {line_of(document, at)}: {text}" for at, text in problems))
    great.assert_nothing_was_dropped(suite)
    return suite


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The likeliest right spelling, or the list of what there is."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(known)}"


def columns_named(kwargs: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """The columns that an expectation's arguments name, each as (argument, column)."""
    for argument in COLUMN_ARGUMENTS:
        value = kwargs.get(argument, [])
        for column in value if isinstance(value, list) else [value]:
            yield argument, str(column)


def _problems(suite: Suite, dataset: DatasetSpec) -> Iterable[tuple[tuple[str | int, ...], str]]:
    if suite.dataset != dataset.name:
        yield (
            ("dataset",),
            f"this is a suite of dataset {suite.dataset!r}, but {dataset.name!r} was asked for",
        )
    if not suite.expectations:
        yield (
            ("expectations",),
            "the suite is empty: nothing would ever be refused; expect at least a row count",
        )
    views = views_of(dataset)
    seen: dict[str, int] = {}
    for number, one in enumerate(suite.expectations):
        at = ("expectations", number)
        if one.name in seen:
            yield (*at, "name"), f"the name {one.name!r} is there twice; results are kept by name"
        seen[one.name] = number
        for name in sorted(one.parameters - set(PARAMETERS)):
            yield (*at, "kwargs"), f"no parameter {name!r}; {did_you_mean(name, PARAMETERS)}"
        if one.view not in views:
            yield (*at, "view"), f"{dataset.name} has no view {one.view!r}; {did_you_mean(one.view, views)}"
            continue
        for argument, column in columns_named(one.kwargs):
            if column not in views[one.view].columns:
                yield (
                    (*at, "kwargs", argument),
                    f"{one.view!r} of {dataset.name} has no column {column!r}; "
                    f"{did_you_mean(column, views[one.view].columns)}",
                )


def _parameters(value: Any) -> Iterable[str]:
    if isinstance(value, dict):
        if set(value) == {"$PARAMETER"}:
            yield str(value["$PARAMETER"])
        else:
            for one in value.values():
                yield from _parameters(one)
    elif isinstance(value, list):
        for one in value:
            yield from _parameters(one)


def _explained(path: Path, document: Any, problem: Any) -> str:
    at = tuple(problem["loc"])
    where = f"{path}, line {line_of(document, at)}: {'.'.join(str(part) for part in at) or 'the file'}"
    if problem["type"] == "extra_forbidden":
        model: type[BaseModel] = Expected if len(at) > 1 else Suite
        return f"{where} is not a key that is known here; {did_you_mean(str(at[-1]), model.model_fields)}"
    if problem["type"] == "missing":
        return f"{where} is missing"
    if problem["type"] == "literal_error":
        return f"{where}: {problem['input']!r} is none of {problem['ctx']['expected']}"
    return f"{where}: {problem['msg']} (found {problem['input']!r})"
