"""The one place that talks to Great Expectations. Importing it costs 4 s and 250 MB, so functions do.

One ephemeral context per process, one data asset per view; nothing is kept by Great Expectations itself.
"""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import datetime

    import polars as pl

    from millrace.quality.suite import Expected, Suite


class SuiteDropped(RuntimeError):
    """Great Expectations would run something else than the JSON says; nothing is judged then."""


@dataclass(frozen=True)
class Raw:
    """What Great Expectations answered: `result` is COMPLETE (rows by position) where it failed, else empty."""

    success: bool
    result: Mapping[str, Any]
    error: str | None


def problems(kind: str, kwargs: Mapping[str, Any], severity: str) -> Iterable[tuple[tuple[str, ...], str]]:
    """What is wrong with one expectation, each as (path within it, words)."""
    from millrace.quality.suite import did_you_mean

    known = _known_types()
    if kind not in known:
        yield ("type",), f"Great Expectations has no {kind!r}; {did_you_mean(kind, known)}"
        return
    made = known[kind]
    arguments = sorted(set(made.__fields__) - set(_common_fields()))
    for name in kwargs:
        if name not in arguments:
            yield ("kwargs", name), f"{kind} takes no {name!r}; {did_you_mean(name, arguments)}"
            return
    try:
        made(**kwargs, severity=severity)
    except ValueError as error:  # its pydantic's ValidationError is one
        first = next(iter(getattr(error, "errors", list)()), {"loc": (), "msg": str(error)})
        argument = first["loc"][0] if first["loc"] and first["loc"][0] in kwargs else None
        words = f"{kind}: {argument}: {first['msg']}" if argument else f"{kind}: {first['msg']}"
        yield ("kwargs", *([argument] if argument else [])), words


def assert_nothing_was_dropped(suite: Suite) -> None:
    """Raises SuiteDropped unless Great Expectations would run exactly what the JSON says."""
    kept = [
        (one.expectation_type, one.configuration.kwargs, one.severity.value)
        for one in _gx_suite(suite.expectations).expectations
    ]
    said = [(one.type, one.kwargs, one.severity) for one in suite.expectations]
    if len(kept) != len(said):
        raise SuiteDropped(f"Great Expectations kept {len(kept)} of {len(said)} expectations")
    for (kind, arguments, severity), (wanted_kind, wanted, wanted_severity) in zip(kept, said, strict=True):
        same = all(name in arguments and arguments[name] == value for name, value in wanted.items())
        if (kind, severity) != (wanted_kind, wanted_severity) or not same:
            raise SuiteDropped(
                f"Great Expectations made {kind} {arguments} ({severity}) of "
                f"{wanted_kind} {wanted} ({wanted_severity})"
            )


def run(
    view: str, rows: pl.DataFrame, expectations: Sequence[Expected], parameters: Mapping[str, Any]
) -> dict[str, Raw]:
    """The result of each expectation on one view, by name."""
    batch = _batch_definition(view).get_batch({"dataframe": rows.to_pandas()})
    # Whether it passed costs Great Expectations half of what it costs to count; only failures are counted.
    found = _validated(batch, expectations, parameters, "BOOLEAN_ONLY")
    failed = [one for one in expectations if not found[one.name].success]
    return found | _validated(batch, failed, parameters, "COMPLETE") if failed else found


def page(
    title: str,
    at: datetime,
    views: Sequence[tuple[str, pl.DataFrame, Sequence[Expected]]],
    parameters: Mapping[str, Any],
) -> str:
    """One page of Data Docs (HTML) about an hour. It loads its styles and scripts from public CDNs."""
    _begin()
    from great_expectations.core.expectation_validation_result import ExpectationSuiteValidationResult
    from great_expectations.render.renderer import ValidationResultsPageRenderer
    from great_expectations.render.view import DefaultJinjaPageView

    results: list[Any] = []
    for view, rows, expectations in views:
        batch = _batch_definition(view).get_batch({"dataframe": rows.to_pandas()})
        done = batch.validate(
            _gx_suite(tuple(expectations)), result_format="SUMMARY", expectation_parameters=dict(parameters)
        )
        results += done.results
    passed = sum(bool(one.success) for one in results)
    whole = ExpectationSuiteValidationResult(
        success=passed == len(results),
        results=results,
        suite_name=title,
        statistics={
            "evaluated_expectations": len(results),
            "successful_expectations": passed,
            "unsuccessful_expectations": len(results) - passed,
            "success_percent": 100 * passed / len(results) if results else None,
        },
        meta={
            "run_id": {"run_name": title, "run_time": at.isoformat()},
            "active_batch_definition": {},
            "batch_markers": {},
        },
    )
    return str(DefaultJinjaPageView().render(ValidationResultsPageRenderer().render(whole)))


def _validated(
    batch: Any, expectations: Sequence[Expected], parameters: Mapping[str, Any], result_format: str
) -> dict[str, Raw]:
    done = batch.validate(
        _gx_suite(tuple(expectations)), result_format=result_format, expectation_parameters=dict(parameters)
    )
    found = {
        one.expectation_config.meta["name"]: Raw(
            bool(one.success), dict(one.result), _raised(one.exception_info)
        )
        for one in done.results
    }
    if set(found) != {one.name for one in expectations}:
        raise SuiteDropped(f"Great Expectations ran {sorted(found)} of {[one.name for one in expectations]}")
    return found


def _raised(info: Any) -> str | None:
    """The message of whatever was raised; the information may be nested by metric."""
    if not isinstance(info, Mapping):
        return None
    if "raised_exception" in info:
        return str(info["exception_message"]) if info["raised_exception"] else None
    return next((found for one in info.values() if (found := _raised(one))), None)


def _gx_suite(expectations: Sequence[Expected]) -> Any:
    _begin()
    from great_expectations.core.expectation_suite import ExpectationSuite

    made = [
        {"type": one.type, "kwargs": one.kwargs, "severity": one.severity, "meta": {"name": one.name}}
        for one in expectations
    ]
    return ExpectationSuite(name="millrace", expectations=made)


@cache
def _known_types() -> dict[str, Any]:
    _begin()
    from great_expectations.expectations.registry import (
        get_expectation_impl,
        list_registered_expectation_implementations,
    )

    return {name: get_expectation_impl(name) for name in list_registered_expectation_implementations()}


@cache
def _common_fields() -> tuple[str, ...]:
    from great_expectations.expectations.expectation import BatchExpectation

    return tuple(BatchExpectation.__fields__)


@cache
def _context() -> Any:
    _begin()
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    return context


@cache
def _batch_definition(view: str) -> Any:
    source = _context().data_sources.add_or_update_pandas(f"millrace_{view}")
    return source.add_dataframe_asset(view).add_batch_definition_whole_dataframe("whole")


@cache
def _begin() -> None:
    """Import it, before anything of it is used. Looking for garbage meanwhile takes a fifth of the time that this
    takes, and every task that publishes hours takes it anew."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"  # no usage statistics to its makers
    logging.getLogger("great_expectations").setLevel(logging.WARNING)  # no chatter in a task's log
    collects = gc.isenabled()
    gc.disable()
    try:
        import great_expectations  # noqa: F401
    finally:
        if collects:
            gc.enable()
