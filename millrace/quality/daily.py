"""The summary of yesterday: is it whole, final and consistent, and is it a day like others?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING

from millrace.publish.codec import FormatError, decode_hour
from millrace.publish.hour import VERSION, HourState
from millrace.publish.layout import HOUR, LayoutError, published_hour, published_key
from millrace.quality.day import Check, Counters, DaySummary, read_summary, worst
from millrace.quality.quarantine import waiting_entries
from millrace.store import NotFound, ObjectStore
from spark_apps.runtime.carried_state import newest_manifest

if TYPE_CHECKING:
    import polars as pl

    from millrace.catalog import DatasetSpec

COUNTERS_AGREE_WITHIN = 0.1
"""A stream's counters are read at 02:30, a day ends at midnight, and repeats are counted by one side only."""
USUAL_WITHIN = (0.5, 2.0)
"""A day's total against the mean of the same weekday in the four weeks before."""
SHOWN = 5


@dataclass(frozen=True)
class Day:
    """What is published of a day: its expected hours, and the state of those that are there."""

    dataset: DatasetSpec
    day: date
    expected: list[datetime]
    states: Mapping[datetime, HourState]

    @property
    def rows(self) -> pl.DataFrame:
        """All rows of the day, with the hour of the object that they were read from as `_object`."""
        import polars as pl

        from millrace.publish.codec import empty_hour

        frames = [
            state.rows.drop(VERSION).with_columns(pl.lit(hour).alias("_object"))
            for hour, state in self.states.items()
        ]
        nothing = empty_hour(self.dataset).rows.drop(VERSION)
        return pl.concat(frames) if frames else nothing.with_columns(pl.lit(None).alias("_object"))


def summarise(store: ObjectStore, dataset: DatasetSpec, day: date, now: datetime) -> DaySummary:
    """Look at one UTC day of a dataset. Raises StoreError; anything wrong with the data is in the summary."""
    today, before = read_day(store, dataset, day), read_day(store, dataset, day - timedelta(days=1))
    counters = {writer: found for writer in dataset.writers if (found := read_counters(store, writer))}
    earlier = read_summary(store, dataset.name, day - timedelta(days=1))
    weeks = [read_summary(store, dataset.name, day - timedelta(weeks=week)) for week in (1, 2, 3, 4)]
    waiting = [entry.hour for entry in waiting_entries(store, dataset) if entry.hour.date() == day]
    totals = sums(today.rows, dataset)
    checks = [
        hours_check(today, waiting),
        keys_check(today, before),
        sums_check(today),
        counters_check(totals, counters, earlier),
        trend_check(totals, [one for one in weeks if one is not None]),
        audits_check(today),
    ]
    return DaySummary(
        dataset=dataset.name,
        day=day,
        at=now,
        outcome=worst(checks),
        checks=checks,
        hours=dict(statuses(today)),
        keys=today.rows.select(dataset.keys).unique().height,
        totals=totals,
        counters=counters,
    )


def read_day(store: ObjectStore, dataset: DatasetSpec, day: date) -> Day:
    """The published hours of a UTC day; hours before the first that was ever published are not expected."""
    begin = datetime.combine(day, time(), UTC)
    first = first_hour(store, dataset)
    hours = [begin + number * HOUR for number in range(24)]
    expected = [hour for hour in hours if first is not None and hour >= first]
    with ThreadPoolExecutor(max_workers=12) as pool:
        found = zip(expected, pool.map(lambda hour: _state(store, dataset, hour), expected), strict=True)
        return Day(dataset, day, expected, {hour: state for hour, state in found if state is not None})


def first_hour(store: ObjectStore, dataset: DatasetSpec) -> datetime | None:
    """The oldest published hour: keys sort by time."""
    for info in store.list_objects(dataset.prefix + "/"):
        try:
            return published_hour(dataset.prefix, info.key)
        except LayoutError:
            continue
    return None


def read_counters(store: ObjectStore, stream: str) -> Counters | None:
    """What a stream says that it has read, from the state of its last committed batch."""
    manifest = newest_manifest(store, stream)
    if manifest is None:
        return None
    return Counters(generation=manifest.generation, batch=manifest.batch, totals=manifest.totals)


def statuses(day: Day) -> Counter[str]:
    """How many of the expected hours are final, amending, provisional, expired, missing."""
    return Counter(day.states[hour].status if hour in day.states else "missing" for hour in day.expected)


def sums(rows: pl.DataFrame, dataset: DatasetSpec) -> dict[str, int]:
    """Sums of the columns that may be added up over hours: integers that are no level at a moment."""
    return {
        name: int(rows[name].sum())
        for name, kind in dataset.columns.items()
        if kind in ("int64", "int32") and name not in dataset.keys and not name.endswith("_at_end")
    }


def hours_check(day: Day, waiting: Sequence[datetime]) -> Check:
    """24 hours there and final."""
    if not day.expected:
        return Check(name="hours", outcome="not_evaluated", says="nothing was published yet on this day")
    found = statuses(day)
    says = f"{found['final']} of {len(day.expected)} final"
    wrong: dict[str, list[str]] = {}
    for hour in day.expected:
        status = day.states[hour].status if hour in day.states else "missing"
        if hour in waiting:
            status += ", in quarantine"
        if status != "final":
            wrong.setdefault(status, []).append(f"{hour:%H}h")
    bad = [f"{status}: {' '.join(hours)}" for status, hours in wrong.items()]
    if len(day.expected) < 24:
        says += f" (publishing began at {day.expected[0]:%H}h)"
    return Check(name="hours", outcome="failed" if bad else "ok", says="; ".join([says, *bad]))


def keys_check(day: Day, before: Day) -> Check:
    """Every key of the day before is there."""
    keys = day.dataset.keys
    was, now = before.rows.select(keys).unique(), day.rows.select(keys).unique()
    if was.is_empty():
        says = f"{now.height:,} there; the day before has none to compare with"
        return Check(name=keys[-1], outcome="not_evaluated", says=says)
    gone = was.join(now, on=keys, how="anti").sort(keys)
    new = now.join(was, on=keys, how="anti").height
    says = f"{now.height:,} there, {gone.height:,} of the day before gone, {new:,} new"
    if gone.height:
        names = ["/".join(map(str, row)) for row in gone.head(SHOWN).iter_rows()]
        says += f": {', '.join(names)}{' ...' if gone.height > SHOWN else ''}"
    return Check(name=keys[-1], outcome="warning" if gone.height else "ok", says=says)


def sums_check(day: Day) -> Check:
    """The day's sums by what the rows say equal the sum of the objects by where they lie."""
    import polars as pl

    if not day.states:
        return Check(name="sums", outcome="not_evaluated", says="no hours")
    rows = day.rows
    by_object = sums(rows, day.dataset)
    if "window_start" in day.dataset.columns:
        of_the_day = rows.filter(pl.col("window_start").dt.date() == day.day)
        once = of_the_day.unique([*day.dataset.keys, "window_start"])
    else:
        once = rows.unique([*day.dataset.keys, "_object"])
    by_rows = sums(once, day.dataset)
    wrong = [
        f"{name}: rows {by_rows[name]:,}, hours {by_object[name]:,}"
        for name in by_object
        if by_rows[name] != by_object[name]
    ]
    says = ", ".join(f"{name} {value:,}" for name, value in by_object.items())
    return Check(name="sums", outcome="failed" if wrong else "ok", says="; ".join([says, *wrong]))


def counters_check(
    totals: Mapping[str, int], counters: Mapping[str, Counters], earlier: DaySummary | None
) -> Check:
    """Observations published for the day against those that the streams read between two summaries."""
    name, column = "stream counters", "observations"
    if column not in totals or not counters:
        return Check(name=name, outcome="not_evaluated", says="the streams of this dataset have none")
    if earlier is None:
        return Check(name=name, outcome="not_evaluated", says="no reading of the day before")
    read = 0
    for stream, now in counters.items():
        then = earlier.counters.get(stream)
        if then is None or then.generation != now.generation:
            return Check(
                name=name, outcome="not_evaluated", says=f"{stream} began anew since the last reading"
            )
        read += _accepted(now) - _accepted(then)
    published = totals[column]
    says = f"{published:,} observations published, {read:,} read by the stream from one summary to the next"
    agree = abs(published - read) <= COUNTERS_AGREE_WITHIN * max(published, read)
    return Check(name=name, outcome="ok" if agree else "warning", says=says)


def trend_check(totals: Mapping[str, int], weeks: Sequence[DaySummary]) -> Check:
    """Each total against the mean of the same weekday of the four weeks before."""
    if not weeks:
        return Check(name="trend", outcome="not_evaluated", says="no summary of this weekday in four weeks")
    said, odd = [], False
    for name, value in totals.items():
        usual = sum(week.totals.get(name, 0) for week in weeks) / len(weeks)
        if usual:
            said.append(f"{name} {value / usual - 1:+.0%}")
            if name != "gaps":  # rare, so its ratio says little
                odd = odd or not USUAL_WITHIN[0] <= value / usual <= USUAL_WITHIN[1]
    says = f"against the mean of {len(weeks)} such weekday(s): {', '.join(said) or 'all of them zero'}"
    return Check(name="trend", outcome="warning" if odd else "ok", says=says)


def audits_check(day: Day) -> Check:
    """What the audits of the published hours said, from their footers."""
    audits = {hour: state.quality for hour, state in day.states.items()}
    if not audits:
        return Check(name="audits", outcome="not_evaluated", says="no hours")
    found = Counter(str(quality["outcome"]) if quality else "not audited" for quality in audits.values())
    warned = Counter(name for quality in audits.values() if quality for name in quality["warnings"])
    says = ", ".join(f"{count} {what}" for what, count in found.most_common())
    if warned:
        says += " (" + ", ".join(f"{name} {count}x" for name, count in warned.most_common()) + ")"
    return Check(name="audits", outcome="ok" if set(found) == {"passed"} else "warning", says=says)


def _accepted(counters: Counters) -> int:
    return counters.totals.get("observations", 0)


def _state(store: ObjectStore, dataset: DatasetSpec, hour: datetime) -> HourState | None:
    key = published_key(dataset.prefix, hour)
    try:
        return decode_hour(store.get(key).body, dataset, key)
    except (NotFound, FormatError):  # unreadable is as good as missing: the summary says so
        return None
