"""`millrace host`: the stream host, and what it starts. For programs rather than for people."""

from __future__ import annotations

import os
import sys
import time
from typing import Annotated

import typer

app = typer.Typer(help="The stream host, which keeps the drivers of the streams.", no_args_is_help=True)


@app.command("run")
def run() -> None:
    """Run the stream host in the foreground (supervisord), with one program per stream of the catalog."""
    from millrace import settings
    from millrace.catalog import CatalogError, load_catalog
    from millrace.control import exit_codes
    from millrace.control.streamhost import command, write_config

    try:
        chosen = settings.load()
        path = write_config(chosen, load_catalog(chosen.catalog_dir).streams.values())
    except (settings.SettingsError, CatalogError) as error:
        _say(str(error))
        raise typer.Exit(exit_codes.BAD_CONFIGURATION) from None
    line = command(path)
    os.execv(line[0], line)  # noqa: S606


@app.command("exec")
def execute(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A stream of the catalog.")],
) -> None:
    """Become the driver of a stream, as its desired state in the store says (the stream host calls this)."""
    from millrace import settings
    from millrace.control import exit_codes
    from millrace.control.execute import Ended, prepare
    from millrace.store import StoreUnavailable, open_store

    try:
        chosen = settings.load()
        order = prepare(open_store(chosen), chosen.home, name)
    except settings.SettingsError as error:
        _say(str(error))
        raise typer.Exit(exit_codes.BAD_CONFIGURATION) from None
    except StoreUnavailable as error:
        _say(f"the object store does not answer, so what to run is not known: {error}")
        raise typer.Exit(1) from None
    except Ended as ended:
        _say(str(ended))
        raise typer.Exit(ended.exit_code) from None
    if order.delay:
        _say(f"{name} crashed a moment ago; starting it again in {order.delay:g} s")
        time.sleep(order.delay)
    _say(f"starting {name}: {' '.join(order.command)}")
    os.execv(order.command[0], order.command)  # noqa: S606


@app.command("reset")
def reset(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A stream of the catalog; its driver must be down.")
    ],
) -> None:
    """Forget a stream's state and count its open hours anew from Kafka, at its next start.

    For a state that cannot be read any more, or another number of buckets. Hours that were complete keep
    what is published. Refused while the driver runs, and when Kafka no longer holds what the open hours need.
    A stream of files counts everything anew from the files that are there.
    """
    from millrace import settings
    from millrace.catalog import CatalogError, load_catalog
    from millrace.control.status import newest_status
    from millrace.store import StoreUnavailable, open_store
    from spark_apps.runtime.app import fold_of_app
    from spark_apps.runtime.errors import DriverError
    from spark_apps.runtime.kafka_source import TopicOffsets
    from spark_apps.runtime.reset import read_again, reset_stream

    try:
        chosen = settings.load()
        spec = load_catalog(chosen.catalog_dir).streams.get(name)
        if spec is None:
            raise CatalogError(f"catalog/streams.yaml has no stream {name!r}")
        store = open_store(chosen)
        status = newest_status(store, name)
        if status is not None and not status.ended and _is_alive(status.pid):
            raise CatalogError(f"the driver of {name} is running (process {status.pid}); stop it first")
        if not spec.source.is_replayable:
            raise CatalogError(f"{name} reads {spec.source}, which cannot be read again")
        directory = chosen.home / "streams" / name / "checkpoint"
        if spec.source.kind == "kafka":
            topic = TopicOffsets(chosen.kafka, spec.topic)
            done = reset_stream(store, spec, directory, topic, fold_of_app(spec).lookback)
        else:
            done = read_again(store, spec, directory)
    except (settings.SettingsError, CatalogError, StoreUnavailable, DriverError, ConnectionError) as error:
        typer.echo(f"millrace: {error}", err=True)
        raise typer.Exit(1) from None
    since = (
        f"from {done.first_complete_hour:%Y-%m-%d %H:%M} UTC on"
        if done.first_complete_hour
        else "from the beginning"
    )
    reading = (
        f"from {done.starting_offsets}"
        if done.starting_offsets
        else f"all of {spec.source} that is there now"
    )
    typer.echo(f"{name}: generation {done.generation} counts {since}, reading {reading}")
    if done.old_checkpoint:
        typer.echo(f"the old checkpoint is kept at {done.old_checkpoint}")
    typer.echo("next: start the stream; `millrace status` shows it")


def _say(text: str) -> None:
    """To the driver's log, with the time: the lines of a driver around it have one too."""
    print(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} millrace host: {text}", flush=True)


def _is_alive(pid: int) -> bool:
    import psutil

    return psutil.pid_exists(pid)


if __name__ == "__main__":
    sys.exit(app())
