"""History in batch: recorded polls through the station step, straight to hourly Parquet in a directory.

The same `step` as in the stream and the same layout as in the published store, so that a year of history
needs no Kafka and a stream can be checked against its recording.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from millrace.catalog import DatasetSpec
from millrace.feeds.model import Poll
from millrace.publish.codec import decode_hour, empty_hour, encode_hour
from millrace.publish.hour import VERSION, HourState, join, newest_rows
from millrace.publish.layout import published_key
from millrace.publish.version import Version
from spark_apps.transforms.event_time import HOUR
from spark_apps.transforms.polls import POLLS
from spark_apps.transforms.station_fold import hourly_summary
from spark_apps.transforms.stations import StationRules, StationState, open_since, step

POLLS_PER_STEP = 500
GENERATION = 1


@dataclass
class Aggregated:
    """What came of a run. Counts of movements are over all published rows."""

    polls: int = 0
    observations: int = 0
    hours: int = 0
    rows: int = 0
    total_rental: int = 0
    total_return: int = 0
    gaps: int = 0
    rejected: dict[str, int] = field(default_factory=dict)


def aggregate_stations(
    polls: Iterable[Poll],
    dataset: DatasetSpec,
    rules: StationRules,
    directory: Path,
    *,
    writer: str = "station_hourly",
    report: Callable[[Aggregated], None] | None = None,
) -> Aggregated:
    """Write `<directory>/<prefix>/YYYY/MM/DD/HH/part-0.parquet` for every hour with observations.

    Memory holds the open hours and what is not yet written, not the history. An hour that several
    recordings share is joined. Nothing is there until all of it is: readers go by the path, and would take the hours
    of a run that ended early for whole ones. Raises FileExistsError when the directory already holds hours: two runs
    in one place would have versions that mean nothing to each other.
    """
    target = directory / dataset.prefix
    if target.exists() and any(target.iterdir()):
        raise FileExistsError(f"{target} already holds something; give a new or an empty directory")
    directory.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".aggregate-", dir=directory) as unfinished:
        done = _aggregated(polls, dataset, rules, Path(unfinished), writer, report)
        if done.hours:
            target.parent.mkdir(parents=True, exist_ok=True)
            (Path(unfinished) / dataset.prefix).rename(target)
    return done


def _aggregated(
    polls: Iterable[Poll],
    dataset: DatasetSpec,
    rules: StationRules,
    directory: Path,
    writer: str,
    report: Callable[[Aggregated], None] | None,
) -> Aggregated:
    done = Aggregated()
    state = StationState()
    waiting: list[pl.DataFrame] = []
    written: dict[datetime, Path] = {}
    for batch, some in enumerate(_batches(polls, POLLS_PER_STEP)):
        result = step(state, poll_table(some), rules)
        state = result.state
        version = Version(0, GENERATION, batch).packed()
        waiting.append(
            hourly_summary(result.facts).with_columns(pl.lit(version, dtype=pl.Int64).alias(VERSION))
        )
        done.polls += len(some)
        done.observations += sum(len(poll.stations) for poll in some)
        for reason, count in result.rejected.group_by("reason").len().iter_rows():
            done.rejected[reason] = done.rejected.get(reason, 0) + count
        oldest_open = min(open_since(state.systems, rules).values(), default=0)
        facts = pl.concat(waiting)
        complete = pl.col("window_start").dt.epoch("s") + HOUR <= oldest_open
        _write(facts.filter(complete), dataset, directory, written)
        waiting = [facts.filter(~complete)]
        if report is not None:
            report(replace(done, hours=len(written)))
    if waiting:
        _write(pl.concat(waiting), dataset, directory, written)
    _finish(written, dataset, writer, done)
    return done


def poll_table(polls: Iterable[Poll]) -> pl.DataFrame:
    """Polls as `step` takes them. A recording has no arrival times, so none is from the future."""
    rows = [
        (
            number,
            poll.system_id,
            poll.observed_at,
            poll.observed_at * 1000,
            False,
            [{"station_id": station.station_id, "bikes": station.bikes} for station in poll.stations],
        )
        for number, poll in enumerate(polls)
    ]
    return pl.DataFrame(rows, schema=POLLS, orient="row")


def _batches(polls: Iterable[Poll], size: int) -> Iterator[list[Poll]]:
    source = iter(polls)
    while some := list(islice(source, size)):
        yield some


def _write(facts: pl.DataFrame, dataset: DatasetSpec, directory: Path, written: dict[datetime, Path]) -> None:
    for (hour,), rows in facts.partition_by("window_start", as_dict=True).items():
        path = directory / published_key(dataset.prefix, hour)
        columns = [*dataset.columns, VERSION]
        state = HourState(rows=newest_rows(rows.select(columns), dataset.keys)[0])
        before = decode_hour(path.read_bytes(), dataset, str(path)) if path.exists() else empty_hour(dataset)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_hour(join(before, state, dataset.keys), dataset))
        written[hour] = path


def _finish(written: dict[datetime, Path], dataset: DatasetSpec, writer: str, done: Aggregated) -> None:
    """All input is read: every hour is final. Adds up what is in the files."""
    for path in written.values():
        hour = decode_hour(path.read_bytes(), dataset, str(path))
        newest = max(hour.rows[VERSION])
        path.write_bytes(encode_hour(replace(hour, seals={writer: newest}, final=newest, rev=1), dataset))
        done.hours += 1
        done.rows += hour.rows.height
        done.total_rental += int(hour.rows["total_rental"].sum())
        done.total_return += int(hour.rows["total_return"].sum())
        done.gaps += int(hour.rows["gaps"].sum())
