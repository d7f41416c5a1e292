"""Bike movements per station and hour, exact under any order, repeats and micro-batch boundaries.

For consecutive observations of a station by `observed_at`: rental = max(before - after, 0), return =
max(after - before, 0), counted in the UTC hour of the later one. A station's first observation, and one
after a longer silence than `max_gap`, is a baseline: no movement. The same (station, observed_at) twice
counts once, and the larger count wins. An observation that arrives late corrects what was counted.

`step` is pure: the same state and polls give the same result, to the byte, wherever they are run.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

import polars as pl

from spark_apps.transforms import observation_log
from spark_apps.transforms.event_time import HOUR, REJECTED, advance, judge, sources_schema
from spark_apps.transforms.observation_log import OBSERVATIONS, ObservationLog

STATION = ["system_id", "station_id"]
TOTALS = {
    "system_id": pl.String,
    "station_id": pl.String,
    "hour": pl.Int64,  # hours since the epoch, UTC
    "total_rental": pl.Int64,
    "total_return": pl.Int64,
    "observations": pl.Int64,
    "gaps": pl.Int64,
    "last_observed_at": pl.Int64,  # epoch seconds UTC
    "bikes_at_end": pl.Int64,
}
COUNTS = ["total_rental", "total_return", "observations", "gaps"]
SYSTEMS = sources_schema("system_id")


@dataclass(frozen=True)
class StationRules:
    """What the catalog says of a stream of stations, in seconds."""

    late_by: int = 7200
    max_gap: int = 7200

    @classmethod
    def of(cls, late_by: timedelta, max_gap: timedelta) -> StationRules:
        return cls(int(late_by.total_seconds()), int(max_gap.total_seconds()))


@dataclass(frozen=True)
class StationState:
    """What is carried from one micro-batch to the next.

    `totals`: the rows of each system's open hours and, per station, its newest row before them (the
    baseline that the next movement is counted from). An hour is open while an observation of it would
    still be accepted. `log`: the raw observations of the open hours, needed only when one arrives late.
    """

    systems: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=SYSTEMS))
    totals: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=TOTALS))
    log: ObservationLog = ()


@dataclass(frozen=True)
class StationStep:
    """`facts`: the rows (TOTALS) that changed. `rejected`: row, reason (future, too_late), detail."""

    state: StationState
    facts: pl.DataFrame
    rejected: pl.DataFrame


def step(state: StationState, polls: pl.DataFrame, rules: StationRules) -> StationStep:
    """Fold polls (see polls.py, in the order of each system's offsets) into the state."""
    judged = judge(
        polls,
        state.systems,
        late_by=rules.late_by,
        source="system_id",
        time="observed_at",
        what="poll",
    )
    accepted = judged.filter(pl.col("reason").is_null())
    fresh = (
        accepted.filter(~pl.col("end_of_input"))
        .select("system_id", "observed_at", "stations")
        .filter(pl.col("stations").list.len() > 0)
        .explode("stations")
        .unnest("stations")
        .select(list(OBSERVATIONS))
    )
    totals, facts, news = _count(state, fresh, rules)
    systems = advance(state.systems, accepted, source="system_id", time="observed_at")
    oldest = open_since(systems, rules)
    return StationStep(
        state=StationState(
            systems=systems,
            totals=_prune(totals, oldest),
            log=observation_log.append(state.log, news, oldest),
        ),
        facts=facts.sort("system_id", "hour", "station_id"),
        rejected=judged.filter(pl.col("reason").is_not_null()).select(list(REJECTED)),
    )


def _count(
    state: StationState, fresh: pl.DataFrame, rules: StationRules
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """The new totals, the rows of them that changed, and the observations that said something new."""
    newest = _newest_rows(state.totals)
    last = newest.select(*STATION, "last_observed_at", "bikes_at_end")
    met = fresh.join(last, on=STATION, how="left", maintain_order="left")
    repeated = (pl.col("observed_at") == pl.col("last_observed_at")) & (
        pl.col("bikes") <= pl.col("bikes_at_end")
    )
    late = (pl.col("observed_at") < pl.col("last_observed_at")) | (
        (pl.col("observed_at") == pl.col("last_observed_at")) & (pl.col("bikes") > pl.col("bikes_at_end"))
    )
    met = met.with_columns(repeated=repeated.fill_null(False), late=late.fill_null(False))
    news = met.filter(~pl.col("repeated")).select(list(OBSERVATIONS))
    reopened = met.filter("late").group_by("system_id").agg(reopened=pl.col("observed_at").min() // HOUR)
    if reopened.is_empty():  # every station moves on: add to its newest row, the raw observations stay packed
        base, kept, replaced, counted = newest, state.totals, None, news
    else:  # recount the systems with late observations from the hour of the oldest one
        since = {system: hour * HOUR for system, hour in reopened.iter_rows()}
        counted = pl.concat([news, observation_log.read(state.log, since)])
        split = state.totals.join(reopened, on="system_id", how="left", maintain_order="left")
        is_recounted = (pl.col("hour") >= pl.col("reopened")).fill_null(False)
        replaced = split.filter(is_recounted).drop("reopened")
        kept = split.filter(~is_recounted).drop("reopened")
        base = _newest_rows(kept)
    changed = _movements(base, counted, rules)
    totals = pl.concat([kept.join(changed, on=[*STATION, "hour"], how="anti"), changed])
    if replaced is not None:  # a recount repeats rows that were right already
        changed = changed.join(replaced, on=list(TOTALS), how="anti")
    return totals, changed, news


def _movements(base: pl.DataFrame, observed: pl.DataFrame, rules: StationRules) -> pl.DataFrame:
    """Totals per station and hour of the observations, going on from each station's base row."""
    base = base.join(observed.select(STATION).unique(), on=STATION, how="semi")
    points = _in_order(
        pl.concat(
            [
                base.select(
                    *STATION,
                    observed_at="last_observed_at",
                    bikes=pl.col("bikes_at_end").cast(pl.Int32),
                    counts=pl.lit(False),
                ),
                observed.select(*STATION, "observed_at", "bikes", counts=pl.lit(True)),
            ]
        )
    )
    follows = (pl.col("station") == pl.col("station").shift(1)).fill_null(False)
    silence = pl.col("observed_at") - pl.col("observed_at").shift(1)
    after_gap = follows & (silence > rules.max_gap)
    change = (pl.col("bikes") - pl.col("bikes").shift(1)).cast(pl.Int64)
    points = points.with_columns(
        hour=pl.col("observed_at") // HOUR,
        moved=pl.when(follows & ~after_gap).then(change).otherwise(0),
        gap=after_gap.cast(pl.Int64),
    ).filter("counts")
    counted = (
        points.group_by(pl.struct("station", "hour").rle_id().alias("row"), maintain_order=True)
        .agg(
            *(pl.col(name).first() for name in (*STATION, "hour")),
            total_rental=-pl.col("moved").clip(upper_bound=0).sum(),
            total_return=pl.col("moved").clip(lower_bound=0).sum(),
            observations=pl.len().cast(pl.Int64),
            gaps=pl.col("gap").sum(),
            last_observed_at=pl.col("observed_at").last(),
            bikes_at_end=pl.col("bikes").last().cast(pl.Int64),
        )
        .drop("row")
    )
    # The base row of the same hour already holds the first part of its totals.
    counted = counted.join(
        base.select(*STATION, "hour", *(pl.col(name).alias(f"{name}_before") for name in COUNTS)),
        on=[*STATION, "hour"],
        how="left",
        maintain_order="left",
    )
    return counted.with_columns(
        (pl.col(name) + pl.col(f"{name}_before").fill_null(0)).alias(name) for name in COUNTS
    ).select(list(TOTALS))


def _in_order(points: pl.DataFrame) -> pl.DataFrame:
    """Points by station and time, with a number per station (`station`); of equal moments the larger count.

    By numbers, because sorting by two texts is four times as slow. The numbers depend on what a process has
    seen before, so nothing that leaves this module may be in their order.
    """
    numbers = [pl.col(name).cast(pl.Categorical).to_physical().cast(pl.Int64) for name in STATION]
    points = points.with_columns(station=numbers[0] * (1 << 32) + numbers[1])
    points = points.sort("observed_at").sort("station", maintain_order=True)
    moment = ["station", "observed_at"]
    again = pl.all_horizontal(pl.col(name) == pl.col(name).shift(1) for name in moment)
    if points.select(again.any()).item():
        others = [name for name in points.columns if name not in (*moment, "bikes")]
        points = points.group_by(moment, maintain_order=True).agg(
            pl.col("bikes").max(), *(pl.col(name).first() for name in others)
        )
    return points


def _newest_rows(totals: pl.DataFrame) -> pl.DataFrame:
    """Per station, its row of the latest hour. `totals` are sorted by station and hour."""
    return totals.sort(*STATION, "hour").unique(subset=STATION, keep="last", maintain_order=True)


def open_since(systems: pl.DataFrame, rules: StationRules) -> dict[str, int]:
    """Per system, the start of its oldest open hour, epoch seconds."""
    oldest = (pl.col("newest_at") - rules.late_by) // HOUR * HOUR
    return dict(systems.filter(pl.col("newest_at").is_not_null()).select("system_id", oldest).iter_rows())


def _prune(totals: pl.DataFrame, open_since: dict[str, int]) -> pl.DataFrame:
    """Drop the rows before the open hours, but for each station's newest one: the next baseline."""
    limits = pl.DataFrame(
        {"system_id": list(open_since), "_since": [since // HOUR for since in open_since.values()]},
        schema={"system_id": pl.String, "_since": pl.Int64},
    )
    totals = totals.join(limits, on="system_id", how="left").sort(*STATION, "hour")
    next_is_other = pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift(-1)) for name in STATION)
    is_open = pl.col("hour") >= pl.col("_since")
    is_baseline = next_is_other | (pl.col("hour").shift(-1) >= pl.col("_since"))
    return totals.filter(is_open | is_baseline).drop("_since")
