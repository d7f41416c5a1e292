"""The feeds of the embedded stack: which should run, and seeing to it.

`millrace up` gives the first order and has the stream host start them, so that records come before Airflow is
there; from then on they are supervised as the streams are. What a person ordered is respected.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from millrace.catalog import Catalog, FeedSpec
from millrace.control import exit_codes
from millrace.control.desired import DesiredState, read_desired
from millrace.control.launcher import StreamHost
from millrace.control.layout import ControlObjectError
from millrace.control.order import OrderRefused, give_order
from millrace.control.orders import OrderAction
from millrace.control.outdated import config_of, differences
from millrace.control.process import NOT_RUNNING, HostUnavailable, LauncherError
from millrace.control.status import newest_status
from millrace.control.streamhost import stream_dir
from millrace.control.supervised import SupervisedFeed, feed_name, is_feed, supervised
from millrace.feeds.choice import by_address, feed_from_text
from millrace.local.errors import StackError
from millrace.settings import Settings
from millrace.store import ObjectStore, StoreError

WHO = "millrace up"
STOP_WITHIN = timedelta(seconds=40)


@dataclass(frozen=True)
class Step:
    """What to do about one feed: an order, if its desired state must change; then it runs or is ended."""

    name: str
    then: Literal["run", "end"]
    order: Literal["start", "stop", "redeploy"] | None = None
    why: str = ""
    anew: bool = False
    """Deploy it as it is named now before it is started."""


@dataclass(frozen=True)
class Feeds:
    """The feeds of a stack: `known` all that can run, `wanted` those that FEED and the chosen streams name."""

    known: Mapping[str, SupervisedFeed]
    wanted: Collection[str]
    chosen: str
    """The one that FEED names."""
    by_address: bool = False
    """Whether FEED gives addresses: to name others is to order their redeployment."""

    @classmethod
    def of(cls, catalog: Catalog, feed: str, streams: Iterable[str]) -> Feeds:
        """Raises CatalogError when `feed`, as FEED has it, is none."""
        default = feed_from_text(feed, catalog)
        known = {
            name: spec
            for name, spec in supervised(catalog, [*_of_another_time(catalog), default]).items()
            if isinstance(spec, SupervisedFeed)
        }
        others = sorted({other for name in streams if (other := catalog.streams[name].feed)})
        chosen = feed_name(default.name)
        wanted = list(dict.fromkeys([chosen, *map(feed_name, others)]))
        return cls(known, wanted, chosen, by_address=default.name not in catalog.feeds or ":" in feed)


def steps_towards(feeds: Feeds, desired: Mapping[str, DesiredState | None], *, asked: bool) -> list[Step]:
    """What to do, in which order. Pure.

    `asked`: FEED was given, or is another one than before, so that even a feed that a person stopped is started.
    """
    steps = []
    for name, spec in feeds.known.items():
        now, wanted = desired.get(name), name in feeds.wanted
        by_up = now is not None and now.who == WHO
        if now is None:
            if wanted:
                steps.append(Step(name, "run", "start", "the first start of the stack with it"))
        elif now.state == "running":
            if not wanted and by_up:
                steps.append(Step(name, "end", "stop", "neither FEED nor a chosen stream names it any more"))
            elif name == feeds.chosen and feeds.by_address and differences(now.config, config_of(spec)):
                steps.append(Step(name, "run", "redeploy", "FEED names other addresses"))
            else:
                steps.append(Step(name, "run"))
        elif wanted and (by_up or (asked and name == feeds.chosen)):
            anew = name == feeds.chosen and feeds.by_address
            steps.append(Step(name, "run", "start", "FEED or a chosen stream names it", anew=anew))
    return sorted(steps, key=lambda step: step.then)


def bring_about(settings: Settings, store: ObjectStore, feeds: Feeds, *, asked: bool) -> list[str]:
    """Give the orders that are needed and have the stream host follow; returns the feeds that it was told to start.

    Raises StackError.
    """
    host = StreamHost.of(settings)
    started = []
    try:
        desired = {name: read_desired(store, name) for name in feeds.known}
        for step in steps_towards(feeds, desired, asked=asked):
            spec = feeds.known[step.name]
            orders: list[OrderAction] = [step.order] if step.order else []
            for order in ("redeploy", *orders) if step.anew else orders:
                give_order(store, feeds.known, step.name, order, who=WHO, why=step.why, check_reset=_never)
            runs = host.state(step.name).state not in NOT_RUNNING
            if runs and step.order in ("stop", "redeploy"):
                host.stop(step.name, spec.stop_within)
                runs = False
            if step.then == "run" and not runs and not (step.order is None and _finished(store, step.name)):
                # A start by a person's hand: crashes of an earlier one do not count against it.
                (stream_dir(settings.home, step.name) / "lives.json").unlink(missing_ok=True)
                host.start(step.name)
                started.append(step.name)
    except (OrderRefused, LauncherError, StoreError, ControlObjectError) as error:
        raise StackError(f"the feeds cannot be started: {error}") from None
    return started


def answers(settings: Settings) -> bool:
    """Whether the stream host takes orders."""
    try:
        return StreamHost.of(settings).states() is not None
    except HostUnavailable:
        return False


def end_all(settings: Settings) -> None:
    """Have every feed deliver what it has and end, all at once; their desired state stays as it is."""
    host = StreamHost.of(settings)
    with suppress(LauncherError):
        running = [
            name for name, info in host.states().items() if is_feed(name) and info.state not in NOT_RUNNING
        ]
        if running:
            with ThreadPoolExecutor(len(running)) as pool:
                list(pool.map(lambda name: host.stop(name, STOP_WITHIN), running))


def trouble(store: ObjectStore, feeds: Feeds, since: datetime) -> str | None:
    """Why a wanted feed has ended for good since then; None when none has."""
    for name in feeds.wanted:
        status = newest_status(store, name)
        if status is None or status.heartbeat_at < since:
            continue
        if status.state == "failed" and status.exit_code in exit_codes.NOT_RESTARTED:
            return f"{name}: {status.error}"
    return None


def _finished(store: ObjectStore, name: str) -> bool:
    """Whether it has sent all that it has been told to."""
    status, desired = newest_status(store, name), read_desired(store, name)
    return (
        status is not None
        and desired is not None
        and status.state == "finished"
        and status.spec_revision >= desired.spec_revision
    )


def _of_another_time(catalog: Catalog) -> list[FeedSpec]:
    """The feed that FEED may have named before by its addresses, so that it can be ended."""
    other = by_address()
    return [] if other.name in catalog.feeds else [other]


def _never(_: object) -> None:
    """No feed is ever reset."""
