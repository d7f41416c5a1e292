"""Looking at a live view again and again, and showing each look."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import sleep

from rich.console import Console
from rich.live import Live

from millrace.control.layout import parse
from millrace.control.live import LiveView, live_key
from millrace.control.view import read_view
from millrace.store import NotFound, ObjectStore, StoreUnavailable
from millrace.supervision import Rules
from millrace.watch import picture
from millrace.watch.bars import Chart, Ranking
from millrace.watch.condition import Condition, condition_of
from millrace.watch.terminal import BarChart


@dataclass
class Watch:
    """One stream's view, looked at from time to time; keeps the last chart, to tell what moved."""

    store: ObjectStore
    stream: str
    ranking: Ranking
    command: str
    feed: str
    rules: Rules
    chart: Chart | None = None

    def look(self) -> tuple[Condition, bool]:
        """How it stands, and whether `chart` is another than at the last look.

        Raises StoreUnavailable, ControlObjectError, NotATop.
        """
        key = live_key(self.stream)
        live, age, before = None, timedelta(), self.chart
        try:
            found = self.store.get(key)
        except NotFound:
            self.chart = None
        else:
            live, age = parse(LiveView, found.body, key), found.server_date - found.last_modified
            after = self.ranking.chart(live.content, before)
            # Several looks may see the same: what moved is told until it moves again.
            if before is None or not after.says_the_same(before):
                self.chart = after
        stream = read_view(self.store, self.stream, datetime.now(UTC), self.rules)
        condition = condition_of(live, age, stream, self.command, self.feed)
        return condition, self.chart is not None and self.chart is not before


@dataclass
class Pictures:
    """The files that each chart is written to."""

    png: Path | None = None
    html: Path | None = None
    again_after: float | None = None
    _warned: set[str] = field(default_factory=set)

    def write(self, chart: Chart, console: Console) -> None:
        """Raises OSError."""
        if self.png is not None:
            body, missing = picture.png(chart)
            picture.write(self.png, body)
            if new := missing - self._warned:
                self._warned |= missing
                console.print(
                    f"No font here has {' '.join(sorted(new))}: in the PNG these are code points. A font such as Noto "
                    "Sans CJK mends that; --html needs none.",
                    style="yellow", highlight=False, soft_wrap=True,
                )  # fmt: skip
        if self.html is not None:
            picture.write(self.html, picture.html(chart, again_after=self.again_after).encode())


def show(watch: Watch, pictures: Pictures, *, interval: float, once: bool) -> bool:
    """Show the view once, or until interrupted; whether there was something to show at the end.

    While the store does not answer, the last chart stays, and the words say so; with `once`, it raises.
    """
    console = Console()
    errors = Console(stderr=True)
    if once:
        condition, _ = watch.look()
        chart = watch.chart if condition.usable else None
        console.print(BarChart(chart, condition))
        if chart is not None:
            pictures.write(chart, errors)
        return chart is not None
    moving = console.is_terminal
    with Live(console=console, auto_refresh=False, transient=False) as live:
        while True:
            condition, changed = _patiently(watch)
            chart = watch.chart if condition.usable else None
            if moving:
                live.update(BarChart(chart, condition), refresh=True)
            elif changed:
                console.print(BarChart(chart, condition))
            if changed and chart is not None:
                pictures.write(chart, live.console)
            sleep(interval)


def _patiently(watch: Watch) -> tuple[Condition, bool]:
    try:
        return watch.look()
    except StoreUnavailable as error:
        words = f"the object store does not answer ({error}); is the stack up? `{watch.command} status`"
        return Condition("down", words, watch.chart is not None), False
