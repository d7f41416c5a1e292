"""`millrace feed`: the programs that bring records to Kafka."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from millrace.commands import feed_orders, feed_posts
from millrace.commands.feed_run import Kafka, Once, errors_in_one_line, load, run, run_by_hand

app = typer.Typer(
    help="Bring records to Kafka: bike stations, orders, posts, lines of text; real, recorded or made up.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.command("run")
def run_named(
    name: Annotated[
        str,
        typer.Argument(
            help="A feed of catalog/feeds.yaml, or gbfs:https://…/gbfs.json (several separated by commas), "
            "or 'default': what MILLRACE_FEED says, else city."
        ),
    ] = "default",
    kafka: Kafka = None,
    once: Once = False,
) -> None:
    """Run a feed until it is stopped (Ctrl-C or SIGTERM). Everything fetched is delivered before it ends.

    Exit status: 0 ended as asked, 1 something failed (starting it again is sensible), 2 the catalog or the
    settings must be mended first.
    """
    from millrace.feeds.choice import default_feed, feed_from_text

    with errors_in_one_line():
        settings, catalog = load(kafka)
        spec = default_feed(settings, catalog) if name == "default" else feed_from_text(name, catalog)
        run(spec, settings, catalog, once)


@app.command("list")
def list_feeds() -> None:
    """The feeds of the catalog: what they are and where they send."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from millrace.feeds.choice import default_feed

    with errors_in_one_line():
        settings, catalog = load(None)
        chosen = default_feed(settings, catalog)
        table = Table("feed", "kind", "topic", "options", "what it is", box=None, header_style="bold")
        for spec in [*catalog.feeds.values(), *([] if chosen.name in catalog.feeds else [chosen])]:
            mark = " (default)" if spec.name == chosen.name else ""
            options = ", ".join(f"{key}={value}" for key, value in spec.options.items())
            cells = (spec.name + mark, spec.kind, spec.topic, options or "as they come", spec.description)
            table.add_row(*map(escape, cells))
        Console().print(table)


@app.command("city")
def run_city(
    seed: Annotated[int, typer.Option(help="Another seed is another city; give it its own --system-id.")] = 1,
    stations: Annotated[int, typer.Option(help="How many stations the city has.")] = 120,
    interval: Annotated[str, typer.Option(help="Time between polls, from 5s.")] = "30s",
    history: Annotated[str, typer.Option(help="How much of the past is written first.")] = "24h",
    timezone: Annotated[str, typer.Option(help="Whose mornings and evenings the city follows.")] = "UTC",
    system_id: Annotated[str, typer.Option(help="The system_id, and the key in Kafka.")] = "city",
    kafka: Kafka = None,
    once: Once = False,
) -> None:
    """A simulated city. Writes the missing past at once (24 hours, or the gap since it was stopped), then a
    poll every interval.

    The same seed gives the same polls at the same times, in every process. Every ride is in the ground truth,
    <home>/feeds/city_by_hand/trips/<date>.jsonl.
    """
    options = {
        "seed": seed,
        "stations": stations,
        "interval": interval,
        "history": history,
        "timezone": timezone,
        "system_id": system_id,
    }
    run_by_hand("city", options, kafka, once)


@app.command("gbfs")
def run_gbfs(
    urls: Annotated[list[str], typer.Argument(help="The gbfs.json of each system.", metavar="URL...")],
    interval: Annotated[str, typer.Option(help="Never ask more often than this.")] = "30s",
    language: Annotated[str, typer.Option(help="For systems that list their files by language.")] = "en",
    system_id: Annotated[
        str | None, typer.Option(help="Instead of the system's own; for a single URL only.")
    ] = None,
    kafka: Kafka = None,
    once: Once = False,
) -> None:
    """Real bike-sharing systems that publish GBFS, version 1, 2 or 3, by the address of their gbfs.json.

    About 1,500 are listed in the systems.csv of the GBFS project (MobilityData/gbfs).
    """
    if system_id is not None and len(urls) > 1:
        raise typer.BadParameter("--system-id is for a single URL", param_hint="--system-id")
    systems = [{"url": url, "system_id": system_id} for url in urls]
    run_by_hand("gbfs", {"systems": systems, "interval": interval, "language": language}, kafka, once)


@app.command("seoul")
def run_seoul(
    interval: Annotated[str, typer.Option(help="Time between polls, from 5s.")] = "60s",
    system_id: Annotated[str, typer.Option(help="The system_id, and the key in Kafka.")] = "seoul",
    kafka: Kafka = None,
    once: Once = False,
) -> None:
    """Seoul's public bikes (2,700 stations), from the bikeList API of the Seoul Open Data Plaza.

    Needs a key in the environment: SEOUL_API_KEY. It is free at data.seoul.go.kr, and is never printed.
    """
    run_by_hand("seoul", {"interval": interval, "system_id": system_id}, kafka, once)


@app.command("replay")
def run_replay(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="Polls as *.jsonl[.xz|.gz], or the change-only CSV pair (polls and changes, in any order), with or "
            "without the stations' CSV, which gives the station ids; without it, they are the numbers as text.",
            metavar="FILE...",
        ),
    ],
    system_id: Annotated[str, typer.Option(help="The system_id, and the key in Kafka.")] = "recorded",
    speed: Annotated[
        float | None, typer.Option(help="A multiple of real time, such as 60; else as fast as possible.")
    ] = None,
    now: Annotated[bool, typer.Option("--now", help="Move all times so that the last poll is now.")] = False,
    kafka: Kafka = None,
) -> None:
    """Recorded polls, then a mark that the input is over.

    Each line of a .jsonl file is {"fetched_at": <ISO time>, "feed": <GBFS station_status>}. A line that cannot
    be read goes to the dead letters, and the replay goes on.
    """
    options = {
        "files": [str(path) for path in files],
        "system_id": system_id,
        "speed": speed,
        "times": "now" if now else "recorded",
    }
    run_by_hand("replay", options, kafka, once=False)


app.command("orders")(feed_orders.run_orders)
app.command("orders-replay")(feed_orders.run_orders_replay)
app.add_typer(feed_posts.app, name="posts")
app.command("lines")(feed_posts.run_lines)
