"""`millrace up`, `down`, `status`, `logs`, `password`, `clean`, `install`: the embedded stack."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from millrace.local.stack import Stack


def install() -> None:
    """Look for Java and fetch the locked jars; `make install` calls it after the Python packages."""
    from rich.console import Console

    from millrace.local.class_archive import ensure_archive
    from millrace.local.jars import ensure_jars, jar_root
    from millrace.local.java import find_java
    from millrace.local.progress import Steps
    from millrace.signals import interruptible

    with interruptible(), Steps(Console()) as steps:
        with steps.step("Java") as note:
            java = find_java()
            note(f"{java.version} at {java.program}")
        with steps.step("Jars") as note:
            fetched = ensure_jars()
            note(f"{'fetched into' if fetched else 'there and verified in'} {jar_root()}")
        with steps.step("Archive of Spark's classes") as note:
            made = ensure_archive()
            note({True: "made", False: "there", None: "cannot be made: drivers start more slowly"}[made])


def up(
    feed: Annotated[
        str | None,
        typer.Option(help="A feed of the catalog, or gbfs:<address of a gbfs.json>; kept for later starts."),
    ] = None,
    streams: Annotated[
        str | None,
        typer.Option(
            help="Streams of the catalog, separated by commas, to run instead of those that start by themselves; "
            "kept for later starts."
        ),
    ] = None,
    port_base: Annotated[
        int | None,
        typer.Option(
            help="Use the ports from this one on instead of the default ones; kept for later starts."
        ),
    ] = None,
) -> None:
    """Start everything and wait for the first published hours."""
    from rich.console import Console

    from millrace.local.progress import Steps
    from millrace.local.up import up as bring_up

    console = Console()
    with Steps(console) as steps:
        stack = bring_up(steps, port_base=port_base, feed=feed or None, streams=streams or None)
        seconds = steps.seconds
    console.print(_welcome(stack, seconds), highlight=False, soft_wrap=True)


def down() -> None:
    """Stop everything in order; nothing that was fetched or counted is lost."""
    from rich.console import Console

    from millrace.local.down import down as bring_down
    from millrace.local.home import stack_settings
    from millrace.local.progress import Steps

    console = Console()
    settings = stack_settings()
    with Steps(console) as steps:
        bring_down(settings, steps)
    console.print(
        f"The stack of {settings.home} is down; `up` goes on where it stopped.",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


def status(
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable, times in UTC.")] = False,
) -> None:
    """Show every process and stream. Exit status: 0 all run, 1 some do not, 3 the stack is down."""
    from rich.console import Console

    from millrace.local import overview
    from millrace.local.home import stack_settings

    settings = stack_settings()
    found = overview.look(settings)
    console = Console()
    if not console.is_terminal:
        console.width = 120  # in a log or a pipe there is no width to keep to
    if as_json:
        print(json.dumps(overview.as_json(found), indent=1))
    elif not found.running:
        left = f", but {found.left} of its processes run: `up` or `down` ends them" if found.left else ""
        console.print(
            f"The stack of {settings.home} is down{left}.", highlight=False, markup=False, soft_wrap=True
        )
    else:
        for table in overview.tables(found, datetime.now(UTC)):
            console.print(table)
    if not found.healthy:
        raise typer.Exit(1 if found.running else 3)


def logs(
    name: Annotated[str | None, typer.Argument(help="A process or a stream; without it, all names.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new lines.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many of the last lines.")] = 100,
) -> None:
    """Show the log of a process (kafka, airflow-scheduler, …) or of a stream's driver."""
    from millrace.local import log_files
    from millrace.local.home import stack_settings

    home = stack_settings().home
    if name is None:
        print("\n".join(log_files.log_names(home)) or "no logs yet")
        return
    path = log_files.log_path(home, name)
    sys.stdout.writelines(log_files.last_lines(path, lines))
    if follow:
        with suppress(KeyboardInterrupt):
            for line in log_files.follow(path):
                sys.stdout.write(line)
                sys.stdout.flush()


def password() -> None:
    """Print the password of Airflow's user admin."""
    from millrace.local.credentials import ADMIN_PASSWORD, secrets_file
    from millrace.local.errors import StackError
    from millrace.local.home import stack_settings

    path = secrets_file(stack_settings().home)
    if not path.exists():
        raise StackError(f"there is no {path} yet: `millrace up` makes it")
    print(json.loads(path.read_text(encoding="utf-8"))[ADMIN_PASSWORD])


def clean(
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove all state: published hours, topics, checkpoints, Airflow's history, logs. Jars stay."""
    from millrace.local.clean import clean as remove
    from millrace.local.clean import cleanable
    from millrace.local.home import stack_settings

    home = stack_settings().home
    found = cleanable(home)
    if not found:
        print(f"nothing to remove in {home}")
        return
    if not yes:
        print(f"This removes {', '.join(path.name for path in found)} in {home}, for good.")
        typer.confirm("Go on?", abort=True)
    remove(home)
    print(f"removed everything but jars in {home}")


def _welcome(stack: Stack, seconds: float) -> str:
    from rich.markup import escape

    from millrace.local.called import command_name

    url, millrace, home = stack.settings.airflow_url, escape(command_name()), escape(str(stack.home))
    streams = (
        f"{url}/dags?tags=stream" if len(stack.streams) > 1 else f"{url}/dags/stream__{stack.streams[0]}"
    )
    return f"""
[bold green]Millrace is up[/bold green] ({seconds:.0f} s).

  [bold]{url}[/bold]   user admin, password: `{millrace} password` (kept in {home}/secrets.json)

  Three things to look at
    {streams}   the streams, one shift of an hour after another
    {url}/dags/compact_hourly           how hours are published; trigger it whenever you like
    `{millrace} status` (or `make status`)   processes, memory, and how far the streams are

  Stop with `{millrace} down` (or `make down`); `up` goes on where it stopped."""
