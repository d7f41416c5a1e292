"""`millrace check`: audits a Parquet file or a published hour with the suites that guard publishing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from millrace.quality.judge import Finding
    from millrace.quality.quarantine import FailedExpectation

PASSED, FAILED, NOT_CHECKED = 0, 1, 2


def check(
    file: Annotated[
        str,
        typer.Argument(
            help="A Parquet file, or the key of an object in the store, such as a published hour."
        ),
    ],
    suite: Annotated[
        str, typer.Option("--suite", help="The dataset whose suite applies, or a suite's file.")
    ],
    hour: Annotated[
        str | None,
        typer.Option(
            help="The UTC hour of the rows, such as 2026-03-01T14. Without it: from a path "
            "that ends like a published one (YYYY/MM/DD/HH/part-0.parquet)."
        ),
    ] = None,
) -> None:
    """Judge rows by a suite of expectations; nothing is written, published or put into quarantine.

    An object of the store is compared with its neighbours (the hour before, the same hour of four weeks);
    a file is judged by itself. Exit status: 0 passed (warnings are shown), 1 a critical expectation
    failed, 2 it could not be checked. Example:

      millrace check hourly_summary/2026/03/01/14/part-0.parquet --suite hourly_summary
    """
    import sys

    from rich.console import Console

    from millrace.catalog import CatalogError
    from millrace.quality.check import CheckError, check_file
    from millrace.quality.suite import SuiteError
    from millrace.settings import SettingsError
    from millrace.store import StoreError

    errors = Console(stderr=True)
    try:
        with errors.status("loading Great Expectations"):
            checked = check_file(file, suite, hour)
    except (CheckError, SuiteError, CatalogError, SettingsError, StoreError, OSError) as error:
        errors.print(f"millrace: {error}", style="red", highlight=False, markup=False, soft_wrap=True)
        sys.exit(NOT_CHECKED)
    _show(Console(), checked.title, checked.findings, checked.failed)
    sys.exit(FAILED if any(one.is_critical for one in checked.findings) else PASSED)


def _show(console: Console, title: str, findings: list[Finding], failed: list[FailedExpectation]) -> None:
    from rich.markup import escape
    from rich.table import Table

    from millrace.quality.reason import SHOWN, row_text

    table = Table(title=escape(title), title_justify="left")
    for heading in ("", "expectation", "severity", "result"):
        table.add_column(heading)
    for one in findings:
        sign, style = _sign(one)
        words = {"passed": f"{one.checked:,} checked", "not_evaluated": f"not evaluated: {one.observed}"}
        table.add_row(
            sign,
            escape(one.expected.says),
            one.expected.severity,
            escape(words.get(one.outcome, one.observed)),
            style=style,
        )
    console.print(table)
    for shown in failed:
        console.print(f"{shown.name}: {shown.observed}", highlight=False, markup=False)
        for row in shown.sample[:SHOWN]:
            console.print(f"  {row_text(row)}", highlight=False, markup=False, soft_wrap=True)
        if shown.rows > SHOWN:
            console.print(f"  ... and {shown.rows - SHOWN:,} more", highlight=False, markup=False)
    counted: dict[str, Any] = {
        "passed": sum(one.outcome == "passed" for one in findings),
        "critical failed": sum(one.is_critical for one in findings),
        "warnings": sum(one.is_warning for one in findings),
        "not evaluated": sum(one.outcome == "not_evaluated" for one in findings),
    }
    console.print(", ".join(f"{count} {what}" for what, count in counted.items()), highlight=False)


def _sign(one: Finding) -> tuple[str, str]:
    if one.is_critical:
        return "✗", "red"
    if one.is_warning:
        return "!", "yellow"
    return ("✓", "") if one.outcome == "passed" else ("-", "dim")
