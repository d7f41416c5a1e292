"""An hour of a dataset as a join-semilattice: in any order, any number of times, the same result.

A *fact* is one row: key columns, value columns, `version`. It is the complete total of its key for the
hour, so the newest version wins and everything older is history.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from millrace.publish.version import Version

if TYPE_CHECKING:
    import polars as pl

VERSION = "version"


@dataclass(frozen=True)
class HourState:
    """Everything known of one hour.

    `rows`: the dataset's columns and `version` (int64), unique by key. `seals`: per writer, the packed
    version up to which it has written everything. `final`: the seal that the rows were complete for, or
    None while provisional. `rev` counts what readers have seen. `expired` absorbs all.
    """

    rows: pl.DataFrame
    replay_floor: int = 0
    seals: Mapping[str, int] = field(default_factory=dict)
    final: int | None = None
    rev: int = 0
    expired: bool = False
    quality: Mapping[str, Any] | None = None
    """What the audit found when this was published; None: not audited."""

    @property
    def status(self) -> str:
        """provisional, final, amending (a row newer than `final`) or expired."""
        if self.expired:
            return "expired"
        if self.final is None:
            return "provisional"
        newest = self.rows[VERSION].max() if self.rows.height else None
        return "amending" if isinstance(newest, int) and newest > self.final else "final"


def newest_rows(rows: pl.DataFrame, keys: Sequence[str], replay_floor: int = 0) -> tuple[pl.DataFrame, int]:
    """The newest row per key, sorted by key, without those below the replay floor.

    Returns also how many keys had different contents under one version, which must not happen: the
    greater content is taken, so that the result stays independent of order, and the caller raises an alarm.
    """
    import polars as pl

    if replay_floor:
        rows = rows.filter(pl.col(VERSION) >= Version(replay_floor, 0, 0).packed())
    rows = rows.filter(pl.col(VERSION) == pl.col(VERSION).max().over(keys))
    conflicts = 0
    if rows.select(keys).is_duplicated().any():  # repeats; look closer only when there are any
        rows = rows.unique()
        conflicts = rows.height - rows.select(keys).n_unique()
        if conflicts:
            rows = rows.sort(rows.columns).unique(subset=list(keys), keep="last", maintain_order=True)
    return rows.sort(keys), conflicts


def newest_of(
    frames: Sequence[pl.DataFrame], keys: Sequence[str], replay_floor: int = 0
) -> tuple[pl.DataFrame, int]:
    """`newest_rows` of several frames together."""
    import polars as pl

    return newest_rows(pl.concat(frames), keys, replay_floor)


def add_nothing(facts: Sequence[pl.DataFrame], published: HourState, keys: Sequence[str]) -> list[bool]:
    """For each frame of facts: whether none of its rows could change the published hour."""
    adding, again = may_add(facts, published, keys)
    for number in again - adding:
        told = facts[number].join(published.rows, on=[*keys, VERSION], how="semi")
        if told.join(published.rows, on=published.rows.columns, how="anti").height:
            adding.add(number)
    return [number not in adding for number in range(len(facts))]


def may_add(
    facts: Sequence[pl.DataFrame], published: HourState, keys: Sequence[str]
) -> tuple[set[int], set[int]]:
    """As far as keys and versions tell: the frames of facts that have something new, and those with rows
    under the very version that is published, which add something if they say something else.
    """
    import polars as pl

    below_floor = Version(published.replay_floor, 0, 0).packed()
    if not published.rows.height or not facts:
        newest = [rows[VERSION].max() for rows in facts]
        return {
            number
            for number, version in enumerate(newest)
            if isinstance(version, int) and version >= below_floor
        }, set()
    rows = pl.concat(
        frame.select(*keys, VERSION, pl.lit(number, pl.Int32).alias("_frame"))
        for number, frame in enumerate(facts)
    )
    known = published.rows.select([*keys, pl.col(VERSION).alias("_published")])
    rows = rows.filter(pl.col(VERSION) >= below_floor).join(known, on=keys, how="left")
    newer = rows.filter(pl.col("_published").is_null() | (pl.col("_published") < pl.col(VERSION)))
    again = rows.filter(pl.col("_published") == pl.col(VERSION))
    return set(newer["_frame"].unique()), set(again["_frame"].unique())


def join(left: HourState, right: HourState, keys: Sequence[str]) -> HourState:
    """The least upper bound of two states. `rev` is a reader's counter, not part of the lattice."""
    import polars as pl

    if left.expired or right.expired:
        expired = left if left.expired else right
        return replace(expired, rows=expired.rows.clear(), rev=max(left.rev, right.rev))
    floor = max(left.replay_floor, right.replay_floor)
    rows, _ = newest_rows(pl.concat([left.rows, right.rows]), keys, floor)
    return HourState(
        rows=rows,
        replay_floor=floor,
        seals=_greatest(left.seals, right.seals),
        final=max((final for final in (left.final, right.final) if final is not None), default=None),
        rev=max(left.rev, right.rev),
    )


def same(left: HourState, right: HourState) -> bool:
    """Whether two states say the same, whatever their `rev` and the result of their audit."""
    return (
        left.expired == right.expired
        and left.replay_floor == right.replay_floor
        and dict(left.seals) == dict(right.seals)
        and left.final == right.final
        and left.rows.equals(right.rows)
    )


def _greatest(left: Mapping[str, int], right: Mapping[str, int]) -> dict[str, int]:
    return {writer: max(left.get(writer, -1), right.get(writer, -1)) for writer in sorted({*left, *right})}
