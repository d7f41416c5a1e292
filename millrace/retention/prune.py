"""Carrying a plan out, or only saying what it would do."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from millrace.catalog import Catalog
from millrace.control.supervised import SupervisedFeed, supervised
from millrace.feeds.choice import by_address
from millrace.publish.codec import FormatError
from millrace.publish.expire import advance_horizon, expire_hour
from millrace.retention.look import look_at_dataset, look_at_feed, look_at_stream, store_time
from millrace.retention.plan import Plan, Removal, plan
from millrace.store import ObjectStore, StoreError

WORKERS = 16


@dataclass(frozen=True)
class Line:
    """All that goes of one kind of one dataset or stream, and why."""

    what: str
    owner: str
    objects: int
    bytes: int
    oldest: datetime
    newest: datetime
    """Both aware UTC: the hours themselves, or when the objects were written."""
    why: str


@dataclass(frozen=True)
class Report:
    """What a run did, or with `dry_run` would do. `problems`: what was left undone, for a person."""

    lines: tuple[Line, ...]
    horizons: tuple[tuple[str, datetime], ...]
    problems: tuple[str, ...]
    dry_run: bool

    @property
    def objects(self) -> int:
        return sum(line.objects for line in self.lines)

    @property
    def bytes(self) -> int:
        return sum(line.bytes for line in self.lines)


def prune(
    store: ObjectStore, catalog: Catalog, *, dry_run: bool = False, now: datetime | None = None
) -> Report:
    """Let go what the catalog's retention says. `now` (aware UTC): by default the store's own clock.

    Safe beside drivers, folds and other runs of itself, and safe to repeat. What cannot be removed does not
    hold the rest. Raises StoreError when the store cannot be looked into.
    """
    now = now or store_time(store)
    if now is None:
        return Report((), (), (), dry_run)
    looks = [look_at_dataset(store, dataset, now) for dataset in catalog.datasets.values()]
    streams = [look_at_stream(store, stream) for stream in catalog.streams.values()]
    feeds = supervised(catalog, [by_address()]).values()
    streams += [look_at_feed(store, feed) for feed in feeds if isinstance(feed, SupervisedFeed)]
    todo = plan([found for found, _ in looks], streams, now, atomic=store.if_match_is_atomic)
    problems = [problem for _, found in looks for problem in found]
    if not dry_run:
        todo, failed = _carry_out(store, catalog, todo)
        problems += failed
    return Report(tuple(_lines(todo.removals)), todo.horizons, tuple(problems), dry_run)


def _carry_out(store: ObjectStore, catalog: Catalog, todo: Plan) -> tuple[Plan, list[str]]:
    """What of the plan was done, and what was not. No step depends on another of the same run."""

    def remove(removal: Removal) -> str | None:
        try:
            if removal.hour is not None:
                expire_hour(store, catalog.datasets[removal.owner], removal.hour)
            else:
                store.delete(removal.key)
        except (StoreError, FormatError) as error:
            return f"{removal.what} of {removal.owner}: {error}; the next run tries again"
        return None

    with ThreadPoolExecutor(max_workers=WORKERS) as pool:
        answers = list(pool.map(remove, todo.removals))
    failed = [answer for answer in answers if answer is not None]
    moved = []
    for name, hour in todo.horizons:
        try:
            moved.append((name, advance_horizon(store, catalog.datasets[name], hour)))
        except StoreError as error:
            failed.append(f"horizon of {name}: {error}; the next run tries again")
    done = [removal for removal, answer in zip(todo.removals, answers, strict=True) if answer is None]
    return Plan(tuple(done), tuple(moved)), failed


def _lines(removals: Sequence[Removal]) -> list[Line]:
    grouped: dict[tuple[str, str, str], list[Removal]] = {}
    for removal in removals:
        grouped.setdefault((removal.what, removal.owner, removal.why), []).append(removal)
    return [
        Line(
            what,
            owner,
            len(group),
            sum(one.size for one in group),
            min(one.at for one in group),
            max(one.at for one in group),
            why,
        )
        for (what, owner, why), group in grouped.items()
    ]


def as_json(report: Report) -> dict[str, Any]:
    """Plain values, times as ISO 8601 in UTC."""
    return {
        "dry_run": report.dry_run,
        "objects": report.objects,
        "bytes": report.bytes,
        "removed": [
            {
                name: value.isoformat() if isinstance(value, datetime) else value
                for name, value in vars(line).items()
            }
            for line in report.lines
        ],
        "horizons": {name: hour.isoformat() for name, hour in report.horizons},
        "problems": list(report.problems),
    }
