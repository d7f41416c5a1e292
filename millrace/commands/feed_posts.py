"""`millrace feed posts`: short posts with hashtags, made up, recorded or live."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from millrace.commands.feed_run import Kafka, Once, run_by_hand

app = typer.Typer(
    help="Short posts of people, with their hashtags: made up, recorded or live.", no_args_is_help=True
)


@app.command("demo")
def run_demo(
    seed: Annotated[int, typer.Option(help="Another seed is another crowd.")] = 1,
    rate: Annotated[float, typer.Option(help="Posts per second.")] = 5.0,
    total: Annotated[
        int | None, typer.Option(min=1, help="End with the post of this number; else without end.")
    ] = None,
    kafka: Kafka = None,
    once: Once = False,
) -> None:
    """Made-up posts, dated now: 500 users with moods, and hashtags of which a few burst every minute.

    All but the time of a post is a function of the seed and its number, so the truth is known. Started again, it
    goes on with the number after the last one in Kafka.
    """
    run_by_hand("posts_demo", {"seed": seed, "rate": rate, "total": total}, kafka, once)


@app.command("jetstream")
def run_jetstream(
    servers: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[URL]...",
            help="Jetstream servers, version 1 (wss://HOST/subscribe) or 2 "
            "(wss://HOST/xrpc/network.bsky.jetstream.subscribeEvents); else Bluesky's public ones.",
        ),
    ] = None,
    rewind: Annotated[str, typer.Option(help="How far before the last event it begins again.")] = "5s",
    catch_up: Annotated[str, typer.Option(help="The longest gap that is filled.")] = "24h",
    kafka: Kafka = None,
    once: Once = False,
) -> None:
    """Every new post on Bluesky, from a Jetstream server; no key is needed.

    Started again, or cut off, it goes on a little before the last post in Kafka, so nothing is missed that the server
    still has. When a server fails, the next one is asked.
    """
    options = {"rewind": rewind, "catch_up": catch_up, **({"servers": servers} if servers else {})}
    run_by_hand("jetstream", options, kafka, once)


@app.command("tweets")
def run_tweets(
    file: Annotated[
        Path, typer.Argument(help="A CSV with created_at, id, screen_name and text; plain, xz or gzip.")
    ],
    speed: Annotated[
        float | None, typer.Option(help="A multiple of real time, such as 1 or 10; else as fast as possible.")
    ] = None,
    now: Annotated[
        bool,
        typer.Option("--now", help="Move all times so that the newest is the moment at which it is sent."),
    ] = False,
    again: Annotated[
        bool,
        typer.Option("--again", help="Begin with the first tweet although Kafka has tweets of this file."),
    ] = False,
    kafka: Kafka = None,
) -> None:
    """Recorded tweets, then a mark that the input is over. A row that cannot be read goes to the dead letters.

    A replay that was stopped or killed goes on with the next tweet when it is started again.
    """
    options = {"file": str(file), "speed": speed, "times": "now" if now else "recorded", "again": again}
    run_by_hand("tweets", options, kafka, once=False)


@app.command("socket")
def run_socket(
    address: Annotated[
        str, typer.Argument(metavar="HOST:PORT", help="Where `nc -lk 9999` or the like listens.")
    ],
    user_id: Annotated[str, typer.Option(help="Whose the posts are.")] = "socket",
    kafka: Kafka = None,
    once: Once = False,
) -> None:
    """Every line of a TCP socket as a post, dated when it was read. Connects again when the other side goes away.

    What the other side sends while nothing is connected is lost: a socket cannot replay.
    """
    options = {"address": address, "form": "post", "user_id": user_id}
    run_by_hand("socket", options, kafka, once, topic="posts")


def run_lines(
    address: Annotated[
        str, typer.Argument(metavar="HOST:PORT", help="Where `nc -lk 9999` or the like listens.")
    ] = "localhost:9999",
    kafka: Kafka = None,
    once: Once = False,
) -> None:
    """Every line of a TCP socket to topic `lines`, from where a stream can read it again, unlike from the socket.

    What the other side sends while nothing is connected is lost.
    """
    run_by_hand("socket", {"address": address, "form": "line"}, kafka, once)
