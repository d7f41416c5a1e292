"""`millrace stream`: what a stream or a feed should do, how it does, and what has happened to it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from millrace.catalog import StreamSpec
    from millrace.control.in_words import Known
    from millrace.control.launcher import Launcher
    from millrace.control.orders import OrderAction
    from millrace.control.story import Message
    from millrace.control.supervised import Supervised
    from millrace.settings import Settings
    from millrace.store import ObjectStore

app = typer.Typer(
    help="""Start, stop, restart, redeploy or reset a stream or a feed; its health and history.

    Exit status: 0 done (of `status`: healthy), 1 refused, failed or not healthy, 3 not there yet when --wait gave up.
    """,
    no_args_is_help=True,
)

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="A stream of the catalog, or feed-<name> for a feed.")
]
Why = Annotated[str, typer.Option("--why", help="The reason; kept with your name.")]
Wait = Annotated[bool, typer.Option("--wait", help="Return when the stream has arrived there.")]
LATE = 3


@app.command("start")
def start(name: Name, why: Why = "", wait: Wait = False) -> None:
    """Run it, from where it stopped; deploys it from the catalog if it never was."""
    _order(name, "start", why, wait)


@app.command("stop")
def stop(name: Name, why: Why = "", wait: Wait = False) -> None:
    """End its driver after the micro-batch at hand; it stays stopped until it is started."""
    _order(name, "stop", why, wait)


@app.command("restart")
def restart(name: Name, why: Why = "", wait: Wait = False) -> None:
    """End its driver after the micro-batch at hand, and begin another one with the same configuration."""
    _order(name, "restart", why, wait)


@app.command("redeploy")
def redeploy(name: Name, why: Why = "", wait: Wait = False) -> None:
    """As restart, with the configuration that the catalog has now and the code that is there now."""
    _order(name, "redeploy", why, wait)


@app.command("reset")
def reset(name: Name, why: Why = "", wait: Wait = False) -> None:
    """As redeploy, without the old state: the open hours are counted anew from Kafka.

    For a state that cannot be read any more, or another number of buckets. Hours that were complete keep what is
    published; a stream of files counts everything that is there. Refused when Kafka no longer holds what the open
    hours need; then it goes on as it was.
    """
    _order(name, "reset", why, wait)


@app.command("status")
def status(
    name: Name, as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False
) -> None:
    """Say how it is and why, with the numbers behind it, and what happens next."""
    import json

    from millrace.control import in_words

    with _errors():
        settings, store, spec = _here(name)
        known = _known(settings, store, spec)
    print(
        json.dumps(in_words.as_json(known), indent=1) if as_json else "\n".join(in_words.status_lines(known))
    )
    if not known.view.health.healthy or known.view.desired is None:
        raise typer.Exit(1)


@app.command("history")
def history(
    name: Name, newest: Annotated[int, typer.Option("--newest", "-n", min=1, help="How many of each.")] = 20
) -> None:
    """Print its orders (who, when, why), the lives of its drivers, and its shifts."""
    from millrace.control.in_words import history_lines

    with _errors():
        settings, store, spec = _here(name)
        known = _known(settings, store, spec, newest)
    print("\n".join(history_lines(known, newest)))


def _order(name: str, action: OrderAction, why: str, wait: bool) -> None:
    from datetime import UTC, datetime

    from millrace.control.follow import carry_out, follow
    from millrace.control.order import OrderRefused, give_order, what_is_next
    from millrace.control.reconcile import Reconciler
    from millrace.control.streamhost import log_file
    from millrace.control.supervised import named
    from millrace.control.view import read_view
    from millrace.feeds.choice import supervised_here
    from millrace.settings import load
    from millrace.store import open_store

    with _errors():
        settings = load()
        store, streams = open_store(settings), supervised_here(settings)
        name = named(streams, name)
        try:
            given = give_order(
                store,
                streams,
                name,
                action,
                who=_who(),
                why=why.strip() or "no reason given",
                check_reset=lambda spec: _check_reset(store, settings, spec),
            )
        except OrderRefused as error:
            _refused(str(error))
        print(f"{name}: {action} ordered (revision {given.desired.spec_revision})")
        for change in given.order.changes:
            print(f"  {change}")
        view = read_view(store, name, datetime.now(UTC), streams[name].rules)
        print(f"next: {what_is_next(given, view.health)}", flush=True)
        reconciler = Reconciler(
            store, _launcher(settings), streams[name], _who(), log_hint=str(log_file(settings.home, name))
        )
        if not wait:
            carry_out(reconciler, _print)
            if action == "stop":
                print(_ending(settings, streams[name]))
            print(f"`millrace stream status {name}` shows how it goes on")
            return
        arrival = follow(reconciler, given, _print)
    print(arrival.says)
    if arrival.kind != "reached":
        raise typer.Exit(LATE if arrival.kind == "late" else 1)


def _ending(settings: Settings, spec: Supervised) -> str:
    """Have the host see to the end of the driver, since nobody may be there to do so; in words."""
    from millrace.control.health import in_words
    from millrace.control.launcher import StreamHost
    from millrace.control.process import LauncherError
    from millrace.control.streamhost import longest_stop
    from millrace.control.supervised import dag_of

    try:
        StreamHost.of(settings).end(spec.name)
    except LauncherError as error:
        return (
            f"it ends by itself; if it hangs, the DAG {dag_of(spec.name)} ends it unless that is paused, since the "
            f"stream host cannot be asked to from here ({error})"
        )
    within = in_words(longest_stop(spec))
    return f"if it hangs, the stream host kills it after {within}, whether or not its DAG is paused"


def _known(settings: Settings, store: ObjectStore, spec: Supervised, newest: int = 0) -> Known:
    from datetime import UTC, datetime

    from millrace.control.in_words import Known
    from millrace.control.orders import read_orders
    from millrace.control.process import LauncherError
    from millrace.control.status import read_statuses
    from millrace.control.view import read_view

    process, problem = None, None
    try:
        process = _launcher(settings).state(spec.name)
    except LauncherError as error:
        problem = str(error)
    return Known(
        spec,
        read_view(store, spec.name, datetime.now(UTC), spec.rules),
        process,
        problem,
        read_statuses(store, spec.name, newest=newest) if newest else (),
        read_orders(store, spec.name, newest=newest) if newest else (),
    )


def _here(name: str) -> tuple[Settings, ObjectStore, Supervised]:
    from millrace.catalog import CatalogError
    from millrace.control.supervised import named
    from millrace.feeds.choice import supervised_here
    from millrace.settings import load
    from millrace.store import open_store

    settings = load()
    streams = supervised_here(settings)
    name = named(streams, name)
    if name not in streams:
        raise CatalogError(
            f"there is no stream {name!r} in the catalog, and no feed; there are: {', '.join(streams)}"
        )
    return settings, open_store(settings), streams[name]


def _launcher(settings: Settings) -> Launcher:
    from millrace.control.launcher import StreamHost

    return StreamHost.of(settings)


def _check_reset(store: ObjectStore, settings: Settings, spec: StreamSpec) -> None:
    from spark_apps.runtime.ordered_reset import check_reset

    check_reset(store, settings, spec)


def _who() -> str:
    import getpass
    import socket

    return f"{getpass.getuser()}@{socket.gethostname()}"


def _print(message: Message) -> None:
    print(message.text, flush=True)


def _refused(words: str) -> NoReturn:
    print(f"millrace: refused: {words}", file=sys.stderr)
    raise typer.Exit(1)


@contextmanager
def _errors() -> Iterator[None]:
    from millrace.catalog import CatalogError
    from millrace.control.layout import ControlObjectError
    from millrace.store import StoreError

    try:
        yield
    except (CatalogError, ControlObjectError, StoreError) as error:
        print(f"millrace: {error}", file=sys.stderr)
        raise typer.Exit(1) from None
