"""`millrace watch`: the live views of streams, moving in the terminal or as pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from millrace.watch.bars import Ranking

app = typer.Typer(
    help="Watch what a stream shows right now.", no_args_is_help=True, pretty_exceptions_enable=False
)

Interval = Annotated[str, typer.Option(help="Time between looks, such as 500ms or 2s.")]
Once = Annotated[
    bool,
    typer.Option(
        "--once",
        help="Show it once, then end; exit status 1 when there is nothing to show (it says why, and what to do).",
    ),
]
Html = Annotated[
    Path | None,
    typer.Option(help="Write it to a web page as well, anew whenever it changes.", dir_okay=False),
]
Png = Annotated[
    Path | None, typer.Option(help="Write it to a picture as well, anew whenever it changes.", dir_okay=False)
]
Stream = Annotated[str | None, typer.Option(help="Another stream of the same app.")]


@app.command("hashtags")
def hashtags(
    interval: Interval = "1s", once: Once = False, html: Html = None, png: Png = None, stream: Stream = None
) -> None:
    """The moving top 10 of the hashtags, from the stream trending_hashtags. Ctrl-C ends it."""
    from millrace.watch.bars import HASHTAGS

    _watch(HASHTAGS, stream, interval, once, html, png)


@app.command("users")
def users(
    interval: Interval = "1s", once: Once = False, html: Html = None, png: Png = None, stream: Stream = None
) -> None:
    """Who posts most right now, from the stream user_activity. Ctrl-C ends it."""
    from millrace.watch.bars import USERS

    _watch(USERS, stream, interval, once, html, png)


def _watch(
    ranking: Ranking, stream: str | None, interval: str, once: bool, html: Path | None, png: Path | None
) -> None:
    from millrace.catalog import CatalogError, load_catalog, parse_duration
    from millrace.control.layout import ControlObjectError
    from millrace.local.called import command_name
    from millrace.settings import load
    from millrace.store import StoreError, open_store
    from millrace.watch.bars import NotATop
    from millrace.watch.show import Pictures, Watch, show

    try:
        seconds = parse_duration(interval).total_seconds()
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--interval") from None
    if seconds <= 0:
        raise typer.BadParameter("it must be longer than nothing", param_hint="--interval")
    settings, command = load(), command_name()
    name = stream or ranking.stream
    pictures = Pictures(png=png, html=html, again_after=None if once else seconds)
    try:
        streams = load_catalog(settings.catalog_dir).streams
        if name not in streams:
            raise CatalogError(f"the catalog has no stream {name!r}; there are: {', '.join(sorted(streams))}")
        feed = f"{command} feed run {streams[name].feed or 'posts_demo'}"
        watch = Watch(open_store(settings), name, ranking, command, feed, streams[name].rules)
        shown = show(watch, pictures, interval=seconds, once=once)
    except (CatalogError, NotATop, ControlObjectError, StoreError, OSError) as error:
        typer.echo(f"millrace: {error}", err=True)
        raise typer.Exit(1) from None
    if not shown:
        raise typer.Exit(1)
