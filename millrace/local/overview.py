"""What `millrace status` shows: every process of the stack, and what the streams say of themselves."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import psutil

from millrace.catalog import CatalogError, load_catalog
from millrace.local.supervisor import ProgramState, Supervisor
from millrace.settings import Settings, SettingsError
from millrace.store import StoreError, open_store

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from millrace.control.view import StreamView

NO_PROBLEM_YET = frozenset({"starting", "stopping", "stopped", "fenced"})
"""On its way somewhere, or about to be started."""
PORTS = {"kafka": "kafka", "s3": "s3", "airflow-api-server": "airflow"}


@dataclass(frozen=True)
class ProcessLine:
    """One program: `since` in UTC, `memory` in bytes with all its children (shared pages shared out)."""

    name: str
    state: str
    since: datetime | None
    memory: int
    port: int | None
    pid: int | None
    reason: str


@dataclass(frozen=True)
class StreamLine:
    """What a stream's newest driver last wrote to the store. `problem`: why it does not do what is desired of it."""

    name: str
    state: str
    heartbeat_at: datetime | None
    records: int
    facts: int
    lag: int | None
    watermark: datetime | None
    error: str | None
    problem: str | None = None


@dataclass(frozen=True)
class FeedLine:
    """A feed that is or was deployed. `problem`: why it does not bring what it should."""

    name: str
    state: str
    heartbeat_at: datetime | None
    messages: int
    unreadable: int
    last_sent_at: datetime | None
    problem: str | None


@dataclass(frozen=True)
class Overview:
    """`store_error`: why there is nothing to say about the streams. `left`: how many processes run of
    a stack whose supervisor is gone."""

    running: bool
    processes: list[ProcessLine]
    streams: list[StreamLine]
    store_error: str | None
    feeds: list[FeedLine] = field(default_factory=list)
    left: int = 0

    @property
    def memory(self) -> int:
        return sum(line.memory for line in self.processes)

    @property
    def healthy(self) -> bool:
        """Whether everything runs that should, every stream does what is desired of it, and every feed that should
        brings something."""
        return (
            self.running
            and all(line.state == "RUNNING" for line in self.processes)
            and not any(line.problem for line in self.streams)
            and not any(line.problem for line in self.feeds)
        )


def look(settings: Settings) -> Overview:
    """Ask supervisord, the kernel and the store."""
    supervisor = Supervisor(settings.home)
    if not supervisor.is_running():
        return Overview(False, [], [], None, left=len(supervisor.processes()))
    states = supervisor.states()
    processes = [_process(state, settings) for state in states]
    own = supervisor.pid()
    if own is not None:
        started = datetime.fromtimestamp(psutil.Process(own).create_time(), UTC)
        processes.append(ProcessLine("supervisor", "RUNNING", started, _memory(own, False), None, own, ""))
    try:
        return Overview(True, processes, _streams(settings), None, _feeds(settings))
    except (StoreError, SettingsError, CatalogError) as error:
        return Overview(True, processes, [], str(error))


def as_json(overview: Overview) -> dict[str, Any]:
    """Plain values; times as ISO 8601 in UTC, memory in bytes."""

    def plain(value: Any) -> Any:
        return value.isoformat() if isinstance(value, datetime) else value

    return {
        "running": overview.running,
        "healthy": overview.healthy,
        "memory": overview.memory,
        "processes": [{k: plain(v) for k, v in vars(line).items()} for line in overview.processes],
        "streams": [{k: plain(v) for k, v in vars(line).items()} for line in overview.streams],
        "feeds": [{k: plain(v) for k, v in vars(line).items()} for line in overview.feeds],
        "store_error": overview.store_error,
        "left": overview.left,
    }


def tables(overview: Overview, now: datetime) -> list[RenderableType]:
    """The same for a terminal."""
    from rich.markup import escape
    from rich.table import Table

    processes = Table("process", "state", "since")
    processes.add_column("memory", justify="right")
    processes.add_column("port", justify="right")
    with_reasons = any(line.reason for line in overview.processes)
    if with_reasons:
        processes.add_column("problem")
    for line in overview.processes:
        colour = {"RUNNING": "green", "STARTING": "yellow", "STOPPED": "dim"}.get(line.state, "red")
        processes.add_row(
            line.name,
            f"[{colour}]{line.state.lower()}[/{colour}]",
            ago(line.since, now),
            f"{line.memory / 1e6:,.0f} MB" if line.memory else "",
            str(line.port or ""),
            *([escape(line.reason)] if with_reasons else []),
        )
    processes.add_section()
    processes.add_row("all", "", "", f"{overview.memory / 1e6:,.0f} MB")
    streams = Table("stream", "driver", "heartbeat")
    for title in ("messages", "facts", "waiting", "watermark (UTC)"):
        streams.add_column(title, justify="right")
    with_errors = any(stream.problem or stream.error for stream in overview.streams)
    if with_errors:
        streams.add_column("problem")
    for stream in overview.streams:
        streams.add_row(
            stream.name,
            f"[red]{stream.state}[/red]" if stream.problem else stream.state,
            ago(stream.heartbeat_at, now),
            f"{stream.records:,}",
            f"{stream.facts:,}",
            _waiting(stream),
            f"{stream.watermark:%Y-%m-%d %H:%M}" if stream.watermark else "",
            *([escape(stream.problem or stream.error or "")] if with_errors else []),
        )
    found: list[RenderableType] = [processes]
    if overview.store_error:
        found.append(f"[red]nothing is known about the streams:[/red] {escape(overview.store_error)}")
    elif overview.streams:
        found.append(streams)
    if overview.feeds:
        found.append(_table_of_feeds(overview.feeds, now))
    return found


def _table_of_feeds(feeds: list[FeedLine], now: datetime) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table("feed", "health", "heartbeat")
    for title in ("messages", "unreadable", "last sent"):
        table.add_column(title, justify="right")
    with_problems = any(feed.problem for feed in feeds)
    if with_problems:
        table.add_column("problem")
    for feed in feeds:
        colour = {"running": "green", "idle": "green", "finished": "green"}.get(feed.state, "yellow")
        table.add_row(
            feed.name,
            f"[{'red' if feed.problem else colour}]{feed.state}[/]",
            ago(feed.heartbeat_at, now),
            f"{feed.messages:,}",
            f"{feed.unreadable:,}",
            ago(feed.last_sent_at, now),
            *([escape(feed.problem or "")] if with_problems else []),
        )
    return table


def _waiting(stream: StreamLine) -> str:
    if stream.lag is not None:
        return f"{stream.lag:,}"
    return "unknown" if stream.state == "running" else ""


def ago(moment: datetime | None, now: datetime) -> str:
    """'12 s', '3 min', '5 h', '2 d'; empty for None."""
    if moment is None:
        return ""
    seconds = max(0, int((now - moment).total_seconds()))
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def _process(state: ProgramState, settings: Settings) -> ProcessLine:
    port = PORTS.get(state.name)
    return ProcessLine(
        name=state.name,
        state=state.state,
        since=state.since if state.since.year > 1970 else None,
        memory=_memory(state.pid) if state.pid else 0,
        port=getattr(settings.ports, port) if port else None,
        pid=state.pid,
        reason=state.reason,
    )


def _memory(pid: int, with_children: bool = True) -> int:
    """Bytes of a process; what processes share is divided among them where the system tells (Linux)."""
    try:
        top = psutil.Process(pid)
        group = [top, *top.children(recursive=True)] if with_children else [top]
    except psutil.Error:
        return 0
    total = 0
    for process in group:
        try:
            full = process.memory_full_info()
            total += getattr(full, "pss", 0) or full.rss
        except psutil.Error:
            continue
    return total


def _streams(settings: Settings) -> list[StreamLine]:
    from millrace.control.view import read_view

    store = open_store(settings)
    lines = []
    for name, spec in sorted(load_catalog(settings.catalog_dir).streams.items()):
        view = read_view(store, name, datetime.now(UTC), spec.rules)
        if view.status is None:
            lines.append(StreamLine(name, "never started", None, 0, 0, None, None, None, _problem(view)))
            continue
        status = view.status.status
        lines.append(
            StreamLine(
                name,
                status.state,
                status.heartbeat_at,
                status.records,
                status.facts,
                status.lag,
                status.watermark,
                status.error,
                _problem(view),
            )
        )
    return lines


def _problem(view: StreamView) -> str | None:
    """Why it does not do what is desired of it; None while it does, and on its way there."""
    health = view.health
    if view.desired is None or health.healthy or health.state in NO_PROBLEM_YET:
        return None
    return str(health)


def _feeds(settings: Settings) -> list[FeedLine]:
    from millrace.control.supervised import is_feed
    from millrace.control.view import read_view
    from millrace.feeds.choice import supervised_here

    store = open_store(settings)
    lines = []
    for name, spec in supervised_here(settings).items():
        if not is_feed(name):
            continue
        view = read_view(store, name, datetime.now(UTC), spec.rules)
        if view.desired is None:
            continue
        health, status = view.health, view.status.status if view.status else None
        report = status.feed if status else None
        lines.append(
            FeedLine(
                name,
                health.state,
                status.heartbeat_at if status else None,
                status.records if status else 0,
                sum(status.rejected.values()) if status else 0,
                report.last_sent_at if report else None,
                health.reason if not health.healthy and health.state not in NO_PROBLEM_YET else None,
            )
        )
    return lines
