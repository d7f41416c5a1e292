"""Records that come more than once: the first counts, one that contradicts it is told.

A record is known by its identity, which contains its time: so it need be remembered only while a record of that
time would still be accepted, and what counts does not depend on where a micro-batch is cut.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl


def without_repeats(
    seen: pl.DataFrame, records: pl.DataFrame, identity: Sequence[str]
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """The records that are new, all that are known now (the columns of `seen`), and those that contradict a known one.

    `records` have the columns of `identity` and `mark` (int64): a number made of what a record says besides its
    identity; the same in every version of every library, since it is kept.
    """
    known = records.join(seen.select(*identity, known="mark"), on=identity, how="left", maintain_order="left")
    known = known.with_columns(
        known=pl.coalesce("known", pl.col("mark").first().over(identity)),
        is_fresh=pl.col("known").is_null() & pl.struct(identity).is_first_distinct(),
    )
    fresh = known.filter("is_fresh").select(records.columns)
    conflicts = known.filter(pl.col("mark") != pl.col("known")).select(records.columns)
    return fresh, pl.concat([seen, fresh.select(seen.columns)]), conflicts
