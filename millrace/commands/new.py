"""`millrace new`: the beginning of something of your own."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Begin a stream of your own.")


@app.callback()
def _group() -> None:
    """Keep `new stream` a subcommand while it is the only one."""


@app.command()
def stream(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Lower-case letters, digits, underscores.")],
    topic: Annotated[
        str | None, typer.Option(help="The Kafka topic that it reads; by default one of its own name.")
    ] = None,
    key: Annotated[str, typer.Option(help="The column by which records are counted.")] = "name",
    count: Annotated[str, typer.Option(help="The column that says how many there were.")] = "records",
    total: Annotated[
        str, typer.Option("--sum", help="The column that is added up, of whole numbers.")
    ] = "amount",
) -> None:
    """Write a stream that counts records by a key and hour, with its test, for you to make your own of it.

    An app, a transform, catalog entries (stream, topic, dataset), a suite of expectations and a test. Nothing that is
    there is overwritten; entries are added at the end of the catalog's files. See docs/add-a-stream.md.
    """
    from millrace import settings
    from millrace.catalog import CatalogError
    from millrace.local.called import command_name
    from millrace.scaffold.stream import ScaffoldError, plan_stream, write_stream
    from millrace.settings import PROJECT_ROOT, SettingsError

    try:
        new = plan_stream(
            PROJECT_ROOT, settings.load().catalog_dir, name, topic=topic, key=key, count=count, total=total
        )
        written = write_stream(new)
    except (ScaffoldError, CatalogError, SettingsError, OSError) as error:
        typer.echo(f"millrace: {error}", err=True)
        raise typer.Exit(1) from None
    for path in written:
        place = path.relative_to(PROJECT_ROOT) if path.is_relative_to(PROJECT_ROOT) else path
        typer.echo(f"{'wrote   ' if path in new.files else 'added to'} {place}")
    millrace = command_name()
    typer.echo(
        f"""
next
  1. its test passes:   .venv/bin/python -m pytest tests/unit/transforms/test_{name}.py
  2. make it your own:  spark_apps/transforms/{name}.py: what a record is
  3. try it by hand:    {millrace} run {name} --source files://DIRECTORY
  4. deploy it:         {millrace} down, then {millrace} up; it makes the topic {new.topic!r}, and Airflow has the DAG
                        stream__{name}, which waits for you to unpause it"""
    )
