"""Steps of a long command as a person sees them: what runs now, and how long each finished one took."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn


class Steps:
    """Steps may run side by side, each in its thread. On a terminal running steps show a spinner; elsewhere
    (a log, CI) there is one line per finished step and nothing else."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.started = time.monotonic()
        self._lock = threading.Lock()
        self._live = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )

    def __enter__(self) -> Steps:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    @property
    def seconds(self) -> float:
        """Since the first step began."""
        return time.monotonic() - self.started

    def remark(self, text: str) -> None:
        """A line between steps."""
        self.console.print(f"[yellow]![/yellow] {escape(text)}", highlight=False, soft_wrap=True)

    @contextmanager
    def step(self, title: str) -> Iterator[Callable[[str], None]]:
        """Time what is done in the block; call the given function to add a word about the result."""
        begun = time.monotonic()
        notes: list[str] = []
        task = self._live.add_task(title)

        def note(text: str) -> None:
            notes[:] = [escape(text)]
            self._live.update(task, description=f"{title} [dim]{escape(text)}[/dim]")

        try:
            yield note
        except BaseException:
            self._finish(task, f"[red]✗[/red] {title}")
            raise
        took = time.monotonic() - begun
        extra = f" [dim]{notes[0]}[/dim]" if notes else ""
        self._finish(task, f"[green]✓[/green] {title:<42} {took:6.1f} s{extra}")

    def _finish(self, task: int, line: str) -> None:
        with self._lock:
            self._live.remove_task(task)  # type: ignore[arg-type]
            self.console.print(line, highlight=False, soft_wrap=True)
