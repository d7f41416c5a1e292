"""What goes wrong on a person's machine, said in one line."""

from __future__ import annotations


class StackError(Exception):
    """The stack cannot be installed, started or reached.

    The message is one line for the person at the terminal: what is wrong, where, and what to do.
    The command prints it without a traceback and exits with status 1.
    """
