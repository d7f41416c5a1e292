"""`millrace aggregate`: history in batch, from recordings to hourly Parquet."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

APP = "station_hourly"
SHOWN = 5
"""Of what cannot be read, so many are shown; all are counted."""

app = typer.Typer(
    no_args_is_help=True, help="Turn recordings into hourly Parquet, with the streams' own transforms."
)


@app.callback()
def _group() -> None:
    """Keep `aggregate stations` a subcommand while it is the only one."""


@app.command()
def stations(
    files: Annotated[
        list[Path], typer.Argument(help="Recorded polls: *.jsonl, .xz, .gz, or the change-only CSV pair.")
    ],
    out: Annotated[
        Path, typer.Option("--out", help="Where to write hourly_summary/YYYY/MM/DD/HH/part-0.parquet.")
    ],
    system_id: Annotated[str, typer.Option(help="The system that the recording is of.")] = "recorded",
    stream: Annotated[
        str, typer.Option(help="The stream whose rules apply (catalog/streams.yaml).")
    ] = "station_hourly",
) -> None:
    """Rentals and returns per station and hour from recorded polls, without Kafka or Spark running.

    The same transform as the stream station_hourly and the same layout as its published hours. What cannot be read is
    left out, as it is when the recording is replayed, and counted. Example:

      millrace aggregate stations week.jsonl.xz --system-id baywheels --out history
    """
    import sys
    from collections import Counter

    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from millrace import settings
    from millrace.catalog import CatalogError, FeedSpec, load_catalog
    from millrace.commands.feed_run import of_arguments
    from millrace.feeds.compressed import RecordedError
    from millrace.feeds.model import Rejection
    from millrace.feeds.recorded import read_recorded
    from millrace.feeds.validate import validate_feed
    from spark_apps.aggregate_stations import Aggregated, aggregate_stations
    from spark_apps.station_hourly import fold_of

    console = Console(stderr=True)
    unreadable: Counter[str] = Counter()

    def reject(rejection: Rejection) -> None:
        unreadable[rejection.reason] += 1
        if unreadable.total() <= SHOWN:
            say(f"left out: {rejection.detail}", "yellow")

    def say(words: str, colour: str) -> None:
        console.print(f"millrace: {words}", style=colour, highlight=False, markup=False, soft_wrap=True)

    try:
        catalog = load_catalog(settings.load().catalog_dir)
        dataset = catalog.dataset_of(stream)
        if catalog.streams[stream].app != APP:
            raise CatalogError(f"the stream {stream!r} counts no bike stations: its app is not {APP}")
        options = {"files": [str(path) for path in files], "system_id": system_id}
        recording = FeedSpec(name="recording", kind="replay", topic="station_polls", options=options)
        try:
            validate_feed(recording)
        except CatalogError as error:
            raise of_arguments(error, recording) from None
        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        with Progress(*columns, console=console, transient=True) as progress:
            task = progress.add_task("reading")

            def report(so_far: Aggregated) -> None:
                words = (
                    f"{so_far.polls:,} polls, {so_far.observations:,} observations, {so_far.hours:,} hours"
                )
                progress.update(task, description=words)

            done = aggregate_stations(
                read_recorded(files, system_id=system_id, on_rejected=reject),
                dataset,
                fold_of(catalog.streams[stream]).rules,
                out,
                writer=stream,
                report=report,
            )
    except (CatalogError, RecordedError, OSError) as error:
        say(str(error), "red")
        sys.exit(1)
    if unreadable and not done.polls:
        say("not one poll could be read; docs/schemas.md says what a recording is", "red")
        sys.exit(1)
    print(f"polls         {done.polls:>12,}")
    print(f"observations  {done.observations:>12,}")
    print(f"hours         {done.hours:>12,}")
    print(f"station-hours {done.rows:>12,}")
    print(f"rentals       {done.total_rental:>12,}")
    print(f"returns       {done.total_return:>12,}")
    print(f"gaps          {done.gaps:>12,}")
    for reason, count in sorted(unreadable.items()):
        print(f"left out, {reason}: {count:,}")
    for reason, count in sorted(done.rejected.items()):
        print(f"rejected, {reason}: {count:,}")
    prefix = out / dataset.prefix
    print(f'next: python -c "import pandas; print(pandas.read_parquet({str(prefix)!r}).head())"')
