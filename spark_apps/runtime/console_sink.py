"""Results as text, for a person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Console:
    """Results as text: what a person sees who runs an app by hand, and what is in a driver's log."""

    def show(self, content: Mapping[str, Any], *, batch: int) -> None:
        """Print one micro-batch's results."""
        from rich.console import Console as Terminal
        from rich.table import Table
        from rich.text import Text

        terminal = Terminal(highlight=False, soft_wrap=True)
        if not terminal.is_terminal:
            terminal.width = 120  # in a log or a pipe there is no width to keep to
        plain = {name: value for name, value in content.items() if not _is_rows(value)}
        words = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in plain.items())
        terminal.print(Text.assemble((f"batch {batch}", "bold"), "  ", _shown(words)))
        for name, rows in content.items():
            if not _is_rows(rows) or not rows:
                continue
            table = Table(*rows[0], title=name.replace("_", " "), title_justify="left", box=None)
            for row in rows:
                table.add_row(*(Text(_shown(value)) for value in row.values()))
            terminal.print(table)


def _is_rows(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(row, dict) for row in value)


def _shown(value: object) -> str:
    """A value without what would move a terminal's cursor or change its colours: it may be anybody's text."""
    return "".join(sign if sign.isprintable() else "\ufffd" for sign in str(value))
