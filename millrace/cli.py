"""The `millrace` command. Its groups import what they need inside their functions, so it starts at once."""

from __future__ import annotations

import errno
import os
import sys

import typer

from millrace.commands import (
    aggregate,
    check,
    doctor,
    env,
    feed,
    host,
    new,
    prune,
    read,
    run,
    stack,
    stream,
    watch,
)

DISK_IS_FULL = (errno.ENOSPC, errno.EDQUOT)

app = typer.Typer(
    help="Long-lived Spark streams as first-class citizens of Airflow.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (stack.up, stack.down, stack.status, stack.logs, stack.password, stack.clean, stack.install):
    app.command()(command)
app.command()(check.check)
app.command()(doctor.doctor)
app.command()(env.env)
app.add_typer(stream.app, name="stream")
app.add_typer(feed.app, name="feed")
app.add_typer(aggregate.app, name="aggregate")
app.add_typer(host.app, name="host")
app.add_typer(new.app, name="new")
app.command()(read.read)
app.command()(run.run)
app.command()(prune.prune)
app.add_typer(watch.app, name="watch")


def main() -> None:
    """The entry point: errors that a person can mend are one line and exit status 1."""
    from millrace.local.errors import StackError
    from millrace.loopback import reach_directly
    from millrace.settings import SettingsError

    reach_directly(os.environ)
    try:
        app()
    except (StackError, SettingsError) as error:
        print(f"millrace: {error}", file=sys.stderr)
        sys.exit(1)
    except OSError as error:
        if error.errno not in DISK_IS_FULL:
            raise
        where = f" ({error.filename})" if error.filename else ""
        print(f"millrace: the disk is full{where}: free some, and try again", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("millrace: interrupted", file=sys.stderr)
        sys.exit(130)
