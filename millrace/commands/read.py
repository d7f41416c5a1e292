"""`millrace read`: published hours as CSV, JSON lines or Parquet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from collections import Counter


def read(
    dataset: Annotated[
        str, typer.Argument(help="A dataset of catalog/datasets.yaml, such as hourly_summary.")
    ],
    start: Annotated[
        str | None,
        typer.Option(
            "--from", help="The first hour, in UTC: 2026-03-01 or 2026-03-01T14. Default: a day before --to."
        ),
    ] = None,
    end: Annotated[
        str | None,
        typer.Option("--to", help="The hour to stop before, in UTC. Default: with the present hour."),
    ] = None,
    form: Annotated[
        Literal["csv", "json", "parquet"],
        typer.Option("--format", help="json is one object a line."),
    ] = "csv",
    final: Annotated[
        bool,
        typer.Option("--final", help="Only hours that are final: leave out those that may still change."),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Write to this file instead of the standard output.", dir_okay=False),
    ] = None,
) -> None:
    """Print published hours of a dataset; times are UTC. How final they are is said on standard error.

    millrace read hourly_summary --from 2026-03-01 --to 2026-03-02 --format parquet --out day.parquet
    """
    import os
    import sys
    from collections import Counter
    from datetime import UTC, datetime

    from millrace import settings
    from millrace.catalog import CatalogError, load_catalog
    from millrace.publish.codec import FormatError
    from millrace.publish.expire import HourExpired
    from millrace.read.published import iter_hours
    from millrace.read.span import NotASpan, parse_span
    from millrace.read.write import writing
    from millrace.store import StoreError, open_store

    counted: Counter[str] = Counter()
    rows = 0
    try:
        here = settings.load()
        datasets = load_catalog(here.catalog_dir).datasets
        if dataset not in datasets:
            raise CatalogError(
                f"there is no dataset {dataset!r} in the catalog; there are: {', '.join(datasets)}"
            )
        span = parse_span(start, end, datetime.now(UTC))
        if form == "parquet" and out is None and sys.stdout.isatty():
            raise NotASpan("Parquet is not for a terminal: add --out FILE, or choose --format csv")
        with writing(datasets[dataset], form, out) as write:
            for one in iter_hours(open_store(here), datasets[dataset], *span, only_final=final):
                counted[_said(one.status.status, one.status.settled, one.rows is None)] += 1
                if one.rows is not None and one.rows.height:
                    write(one.rows)
                    rows += one.rows.height
    except BrokenPipeError:  # `millrace read ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except (CatalogError, NotASpan, HourExpired, FormatError, StoreError, OSError) as error:
        print(f"millrace: {error}", file=sys.stderr)
        sys.exit(1)
    print(_summary(rows, counted), file=sys.stderr)


def _said(status: str, settled: bool, left_out: bool) -> str:
    word = status if settled or status != "final" else "final but just written"
    return f"{word} (left out)" if left_out else word


def _summary(rows: int, counted: Counter[str]) -> str:
    if not counted:
        return "no hour of that span is published"
    kinds = ", ".join(f"{count} {what}" for what, count in sorted(counted.items()))
    return f"{rows:,} rows of {counted.total()} published hours: {kinds}"
