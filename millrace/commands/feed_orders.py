"""`millrace feed orders` and `orders-replay`: orders of a stock exchange, made up or from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from millrace.commands.feed_run import BAD_CONFIGURATION, Kafka, Once, run_by_hand


def run_orders(
    seed: Annotated[int, typer.Option(help="Another seed is another market.")] = 1,
    rate: Annotated[float, typer.Option(help="Orders per second.")] = 10.0,
    total: Annotated[
        int | None, typer.Option(min=1, help="End with the order of this id; else without end.")
    ] = None,
    write: Annotated[
        Path | None,
        typer.Option(
            help="Write a file of --lines orders instead, dated --rate to the second from 2016-03-22 20:25:28; "
            "no Kafka is needed.",
            metavar="FILE",
        ),
    ] = None,
    lines: Annotated[
        int | None, typer.Option(min=1, help="How many orders --write writes. [default: 500000]")
    ] = None,
    kafka: Kafka = None,
    once: Once = False,
) -> None:
    """Made-up orders, dated now: 100 clients, 80 symbols, a line such as 2016-03-22 20:25:28,1,80,EPE,710,51.00,B.

    All but the time of an order is a function of the seed and its id, so the truth is known. Started again, it goes
    on with the next id after the last one in Kafka.
    """
    if write is not None:
        _write(write, seed, rate, lines, total, once)
        return
    if lines is not None:
        raise typer.BadParameter(
            "goes with --write; to end a feed after some orders, use --total", param_hint="--lines"
        )
    run_by_hand("orders", {"seed": seed, "rate": rate, "total": total}, kafka, once)


def run_orders_replay(
    file: Annotated[Path, typer.Argument(help="A line per order, plain, xz or gzip.")],
    rate: Annotated[float, typer.Option(help="Lines per second.")] = 10.0,
    fast: Annotated[
        bool, typer.Option("--fast", help="As fast as Kafka takes them, instead of --rate.")
    ] = False,
    now: Annotated[bool, typer.Option("--now", help="Move all times so that the newest is now.")] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Begin with the first line although Kafka has lines of this file.")
    ] = False,
    kafka: Kafka = None,
) -> None:
    """The lines of a file of orders as they are, malformed ones too: 10 lines a second unless told otherwise.

    A replay that was stopped or killed goes on with the next line when it is started again.
    """
    options = {
        "file": str(file),
        "rate": rate,
        "fast": fast,
        "times": "now" if now else "recorded",
        "again": again,
    }
    run_by_hand("orders_replay", options, kafka, once=False)


def _write(path: Path, seed: int, rate: float, lines: int | None, total: int | None, once: bool) -> None:
    from millrace.feeds.orders.book import BOOK_LINES, write_book

    if total is not None or once:
        raise typer.BadParameter(
            "does not go with --total or --once; --lines says how many", param_hint="--write"
        )
    if not 0 < rate < float("inf"):
        raise typer.BadParameter("must be greater than 0", param_hint="--rate")
    lines = lines or BOOK_LINES
    try:
        size = write_book(path, seed=seed, lines=lines, rate=rate)
    except OSError as error:
        typer.echo(f"millrace: {path} cannot be written: {error.strerror}", err=True)
        raise typer.Exit(BAD_CONFIGURATION) from None
    typer.echo(f"{path}: {lines} orders of seed {seed}, {size / 1e6:.1f} MB")
