"""`millrace watch`: the live views of streams, moving in the terminal or as pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Watch what a stream shows right now.", no_args_is_help=True, pretty_exceptions_enable=False
)


@app.callback()
def _group() -> None:
    """Watch what a stream shows right now."""


@app.command("hashtags")
def hashtags(
    interval: Annotated[str, typer.Option(help="Time between looks, such as 500ms or 2s.")] = "1s",
    once: Annotated[bool, typer.Option("--once", help="Show it once, then end.")] = False,
    html: Annotated[
        Path | None,
        typer.Option(help="Write it to a web page as well, anew whenever it changes.", dir_okay=False),
    ] = None,
    png: Annotated[
        Path | None,
        typer.Option(help="Write it to a picture as well, anew whenever it changes.", dir_okay=False),
    ] = None,
    stream: Annotated[
        str, typer.Option(help="Another stream of the app trending_hashtags.")
    ] = "trending_hashtags",
) -> None:
    """The moving top 10 of the hashtags, from the stream trending_hashtags. Ctrl-C ends it.

    Exit status of --once: 0 shown, 1 there is nothing to show (it says why, and what to do).
    """
    from millrace.catalog import parse_duration
    from millrace.control.layout import ControlObjectError
    from millrace.local.called import command_name
    from millrace.settings import load
    from millrace.store import StoreError, open_store
    from millrace.watch.bars import NotATop, hashtag_chart
    from millrace.watch.show import Pictures, Watch, show

    try:
        seconds = parse_duration(interval).total_seconds()
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--interval") from None
    if seconds <= 0:
        raise typer.BadParameter("must be longer than nothing", param_hint="--interval")
    settings = load()
    command = command_name()
    watch = Watch(open_store(settings), stream, hashtag_chart, command, feed=f"{command} feed posts demo")
    pictures = Pictures(png=png, html=html, again_after=None if once else seconds)
    try:
        shown = show(watch, pictures, interval=seconds, once=once)
    except (NotATop, ControlObjectError, StoreError, OSError) as error:
        typer.echo(f"millrace: {error}", err=True)
        raise typer.Exit(1) from None
    if not shown:
        raise typer.Exit(1)
