"""A bar chart in a terminal, as wide as that is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size
from rich.table import Table
from rich.text import Text

from millrace.watch.bars import Chart, printable
from millrace.watch.condition import Condition

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

_EIGHTHS = " ▏▎▍▌▋▊▉"
_MOVES = {"new": ("•", "cyan"), "up": ("▲", "green"), "down": ("▼", "red"), "same": (" ", "")}
_SIGNS = {"live": ("●", "green"), "waiting": ("○", "yellow"), "quiet": ("○", "yellow"), "down": ("✗", "red")}
WIDEST_LABEL = 28
WIDEST_BAR = 80


class BarChart:
    """A chart and its condition, drawn anew at every width. Always of the same height, so nothing jumps."""

    def __init__(self, chart: Chart | None, condition: Condition) -> None:
        self._chart, self._condition = chart, condition

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        sign, style = _SIGNS[self._condition.state]
        if self._chart is not None:
            title = Text(self._chart.title, style="bold")
            yield title.append(f"   {self._chart.span}", style="not bold dim")
            yield self._table(self._chart, options.max_width)
        yield Text(f"{sign} {self._condition.words or 'live'}", style=style)

    def _table(self, chart: Chart, width: int) -> Table:
        table = Table.grid(padding=(0, 1))
        for justify in ("right", "left", "left", "right"):
            table.add_column(justify=justify, no_wrap=True)
        width -= len(f"{chart.largest:,}") + 4  # the count, the sign of a move, and a space after each column
        labels = [_fitting(bar.label, min(WIDEST_LABEL, width // 2)) for bar in chart.bars]
        room = min(WIDEST_BAR, width - max(map(cell_len, labels), default=0))
        for place in range(chart.places):
            if place >= len(chart.bars):
                table.add_row("", "", "", "")
                continue
            bar = chart.bars[place]
            sign, style = _MOVES[bar.move]
            table.add_row(
                Text(labels[place], style="bold" if place == 0 else ""),
                Text(sign, style=style),
                Text(_bar(bar.count, chart.largest, room), style="bright_blue" if place == 0 else "blue"),
                Text(f"{bar.count:,}"),
            )
        return table


def _bar(count: int, largest: int, room: int) -> str:
    """A bar in eighths of a character; even the smallest count is to be seen."""
    eighths = max(1, int(count / largest * room * 8)) if largest else 0
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def _fitting(label: str, width: int) -> str:
    plain = printable(label)
    return plain if cell_len(plain) <= width else set_cell_size(plain, width - 1) + "…"
