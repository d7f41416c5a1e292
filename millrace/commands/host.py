"""`millrace host`: the stream host, and what it starts. For programs rather than for people."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from millrace.catalog import StreamSpec
    from millrace.control.execute import Order
    from millrace.settings import Settings
    from millrace.store import ObjectStore

UNCOUNTED_PAUSE = 30.0
"""Seconds before this ends after an error of its own (a full disk, a broken installation): what ends before its life
was counted is started again at once, for ever."""

app = typer.Typer(help="The stream host, which keeps the drivers of the streams.", no_args_is_help=True)


@app.command("run")
def run() -> None:
    """Run the stream host in the foreground (supervisord), with one program per stream and feed of the catalog."""
    from millrace import settings
    from millrace.catalog import CatalogError, load_catalog
    from millrace.control import exit_codes
    from millrace.control.streamhost import command, write_config
    from millrace.control.supervised import supervised
    from millrace.feeds.choice import by_address

    try:
        chosen = settings.load()
        path = write_config(chosen, supervised(load_catalog(chosen.catalog_dir), [by_address()]).values())
    except (settings.SettingsError, CatalogError) as error:
        _say(str(error))
        raise typer.Exit(exit_codes.BAD_CONFIGURATION) from None
    line = command(path)
    os.execv(line[0], line)  # noqa: S606


@app.command("exec")
def execute(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A stream, or feed-<name>.")],
) -> None:
    """Become the driver of a stream, or a feed, as its desired state in the store says (the stream host calls this)."""
    from millrace import settings
    from millrace.catalog import StreamSpec
    from millrace.control import exit_codes
    from millrace.control.execute import Ended, prepare
    from millrace.control.supervised import SupervisedFeed
    from millrace.store import PreconditionFailed, StoreUnavailable, open_store

    try:
        chosen = settings.load()
        store = open_store(chosen)
        order = _accepted(store, chosen, prepare(store, chosen.home, name))
    except settings.SettingsError as error:
        _say(str(error))
        raise typer.Exit(exit_codes.BAD_CONFIGURATION) from None
    except StoreUnavailable as error:
        _say(f"the object store does not answer, so what to run is not known: {error}")
        raise typer.Exit(1) from None
    except PreconditionFailed:
        _say(f"what {name} should do has just been changed; beginning anew")
        raise typer.Exit(1) from None
    except Ended as ended:
        _say(str(ended))
        raise typer.Exit(ended.exit_code) from None
    except Exception as error:
        _say(
            f"{name} cannot be started: {type(error).__name__}: {error}; trying again in {UNCOUNTED_PAUSE:g} s"
        )
        time.sleep(UNCOUNTED_PAUSE)
        raise typer.Exit(1) from None
    spec = order.spec
    if order.reset_revision is not None and isinstance(spec, StreamSpec):
        _reset(order, spec, chosen)
    if order.delay:
        _say(f"{name} crashed a moment ago; starting it again in {order.delay:g} s")
        time.sleep(order.delay)
    if isinstance(spec, SupervisedFeed):
        from millrace.feeds.supervised import run_supervised

        _say(f"starting {name} ({spec.description}, revision {order.revision})")
        raise typer.Exit(run_supervised(spec, chosen, order.revision))
    if spec.driver is not None:
        _start_shared(chosen, spec.driver)
    _say(f"starting {name}: {' '.join(order.command)}")
    os.execve(order.command[0], order.command, os.environ | _place(chosen, order))  # noqa: S606


@app.command("reset")
def reset(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A stream of the catalog; its driver must be down.")
    ],
) -> None:
    """Forget a stream's state and count its open hours anew from Kafka, at its next start (low-level).

    `millrace stream reset` does the same to a stream that runs, and keeps who did it and why.
    For a state that cannot be read any more, or another number of buckets. Hours that were complete keep
    what is published. Refused while the driver runs, and when Kafka no longer holds what the open hours need.
    A stream of files counts everything anew from the files that are there.
    """
    from millrace import settings
    from millrace.catalog import CatalogError, load_catalog
    from millrace.store import StoreUnavailable, open_store
    from spark_apps.runtime.errors import DriverError
    from spark_apps.runtime.ordered_reset import in_words, reset_here

    try:
        chosen = settings.load()
        spec = load_catalog(chosen.catalog_dir).streams.get(name)
        if spec is None:
            raise CatalogError(f"catalog/streams.yaml has no stream {name!r}")
        done = reset_here(open_store(chosen), chosen, spec)
    except (settings.SettingsError, CatalogError, StoreUnavailable, DriverError, ConnectionError) as error:
        typer.echo(f"millrace: {error}", err=True)
        raise typer.Exit(1) from None
    typer.echo(in_words(spec, done))
    typer.echo(f"next: `millrace stream start {name}`; `millrace stream status {name}` shows it")


def _accepted(store: ObjectStore, chosen: Settings, order: Order) -> Order:
    """The order, once a redeploy that waits was tried; after a refusal the one of the old version."""
    from millrace.catalog import StreamSpec
    from millrace.control.execute import prepare
    from millrace.control.redeploy import put_back_if_refused, redeploy_as_ordered

    name = order.spec.name
    if order.redeploy_revision is not None and order.reset_revision is None:
        _say(f"redeploy of {name}: trying the new version on its state and its last micro-batch")
        assert isinstance(order.spec, StreamSpec)  # a feed has no state to try anything on
        with _ended_by_sigterm(name):
            tried = redeploy_as_ordered(
                store, chosen, name, order.redeploy_revision, order.spec.preflight_within
            )
        _say(f"redeploy {tried.outcome}: {tried.says}")
        if tried.outcome == "later":
            raise typer.Exit(1)
    done = put_back_if_refused(store, chosen, name)
    if done is None:
        return order
    _say(done)
    return prepare(store, chosen.home, name)


@contextmanager
def _ended_by_sigterm(name: str) -> Iterator[None]:
    """For the length of a block SIGTERM ends this and what it waits for, which would live on by itself."""
    from millrace.control import exit_codes
    from millrace.control.execute import Ended

    def end(*_: object) -> NoReturn:
        raise Ended(
            exit_codes.STOPPED,
            f"{name} is to end while its new version is tried; the next start tries it anew",
        )

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _place(chosen: Settings, order: Order) -> dict[str, str]:
    """Go where the code is that is to be run; what its environment needs besides."""
    from millrace.control.kept_code import environment_for, kept_code

    if order.code is None:
        return {}
    code = kept_code(chosen.home, order.spec.name, order.code)
    if code is None:
        _say(f"the code {order.code} is no longer kept on this host: starting with the code that is there")
        return {}
    _say(f"with the code that is kept in {code}")
    os.chdir(code)
    return environment_for(chosen, code)


def _reset(order: Order, spec: StreamSpec, chosen: Settings) -> None:
    """Carry out the reset that was ordered, before the driver begins."""
    from millrace.store import StoreUnavailable, open_store
    from spark_apps.runtime.ordered_reset import reset_as_ordered

    try:
        done = reset_as_ordered(open_store(chosen), chosen, spec, order.reset_revision or 0)
    except (ConnectionError, StoreUnavailable) as error:
        _say(f"the reset that was ordered cannot be done now: {error}")
        raise typer.Exit(1) from None
    _say(f"reset {done.outcome}: {done.says}")


def _start_shared(chosen: Settings, driver: str) -> None:
    """Have the stream host start a shared driver; no harm when it runs."""
    from millrace.control import exit_codes
    from millrace.control.launcher import StreamHost
    from millrace.control.process import HostUnavailable, LauncherError
    from millrace.control.streamhost import log_file, shared_program, socket_file

    program = shared_program(driver)
    try:
        StreamHost(socket_file(chosen.home)).start(program)
    except HostUnavailable as error:
        _say(str(error))
        raise typer.Exit(1) from None
    except LauncherError as error:
        _say(str(error))
        raise typer.Exit(exit_codes.BAD_CONFIGURATION) from None
    _say(f"the driver {driver} is shared; what it prints: {log_file(chosen.home, program)}")


def _say(text: str) -> None:
    """To the driver's log, with the time: the lines of a driver around it have one too."""
    print(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} millrace host: {text}", flush=True)


if __name__ == "__main__":
    sys.exit(app())
