"""`millrace doctor`: checks a deployment and says what to do about what is wrong."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from millrace.doctor.finding import Finding


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable: a list of findings.")] = False,
) -> None:
    """Check this deployment: Java, Python, jars, Kafka, the object store, Airflow, clocks and permissions.

    Nothing is changed: what the checks write, below doctor/ in the store and in a Kafka topic of their own, they
    remove. Exit status: 0 when there is no error (warnings are none), 1 otherwise.
    """
    import time
    from dataclasses import asdict

    from rich.console import Console

    from millrace import settings
    from millrace.doctor.airflow_access import is_embedded
    from millrace.doctor.examine import examine
    from millrace.doctor.finding import count
    from millrace.local.home import stack_settings

    begun = time.monotonic()
    found = settings.load()
    if is_embedded(found):
        found = stack_settings()  # whatever account the shell is set to
    console = Console()
    findings: list[Finding] = []
    if as_json:
        findings = list(examine(found))
        print(json.dumps([asdict(one) for one in findings], indent=1))
    else:
        for finding in examine(found):
            findings.append(finding)
            show(console, finding)
        console.print(
            f"errors: {count(findings, 'error')}, warnings: {count(findings, 'warning')}, "
            f"fine: {count(findings, 'fine')} ({time.monotonic() - begun:.0f} s)",
            highlight=False,
        )
    if count(findings, "error"):
        raise typer.Exit(1)


def show(console: Console, finding: Finding) -> None:
    """A line for what was found, and one for what to do."""
    from rich.markup import escape

    sign = {"fine": "[green]✓[/green]", "warning": "[yellow]![/yellow]", "error": "[red]✗[/red]"}[
        finding.level
    ]
    console.print(f"{sign} {finding.part:<12} {escape(finding.says)}", highlight=False, soft_wrap=True)
    if finding.do:
        console.print(f"{'':<14} → {escape(finding.do)}", highlight=False, soft_wrap=True)
