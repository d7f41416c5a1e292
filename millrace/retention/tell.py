"""A prune report for a person: a table of what goes, or went."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from millrace.retention.prune import Report

HEADINGS = ("what", "of", "objects", "bytes", "oldest (UTC)", "newest (UTC)", "why")
_RIGHT = {"objects", "bytes"}


def text_of(report: Report) -> str:
    """Plain text, for a terminal, a task's log or a file; ends with what was left undone."""
    rows = [
        (
            line.what,
            line.owner,
            f"{line.objects:,}",
            f"{line.bytes:,}",
            _time(line.oldest),
            _time(line.newest),
            line.why,
        )
        for line in report.lines
    ]
    would = "would go" if report.dry_run else "went"
    parts = _table(rows) if rows else []
    parts.append(f"{report.objects:,} objects, {report.bytes:,} bytes {would}" if rows else _nothing(report))
    for name, hour in report.horizons:
        moves = "would move" if report.dry_run else "moved"
        parts.append(
            f"{name}: the retention horizon {moves} to {hour:%Y-%m-%d %H}h; earlier hours are refused"
        )
    parts += [f"problem: {problem}" for problem in report.problems]
    return "\n".join(parts)


def _nothing(report: Report) -> str:
    return "nothing would go" if report.dry_run else "nothing had to go"


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[number]) for row in [HEADINGS, *rows]) for number in range(len(HEADINGS))]

    def line(row: tuple[str, ...]) -> str:
        cells = [
            cell.rjust(width) if heading in _RIGHT else cell.ljust(width)
            for cell, width, heading in zip(row, widths, HEADINGS, strict=True)
        ]
        return "  ".join(cells).rstrip()

    return [line(HEADINGS), *(line(row) for row in rows)]


def _time(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M}"
