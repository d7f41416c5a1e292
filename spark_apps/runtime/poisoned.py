"""Folding a batch without the records on which the transform fails; those are rejected whole, as any others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from spark_apps.runtime.keyed_fold import Folded, KeyedFold, prepared

REASON = "poisoned"


def fold_without(fold: KeyedFold, state: Any, records: pl.DataFrame, failing: Mapping[int, str]) -> Folded:
    """The fold of the records that are left, its rejected rows numbered as in all of them.

    When none is left the state is carried over as it is.
    """
    if not failing:
        return fold.fold(state, prepared(fold, records))
    aside = pl.DataFrame(
        {"row": list(failing), "reason": REASON, "detail": list(failing.values())},
        schema_overrides={"row": pl.Int64},
    )
    kept = [row for row in range(records.height) if row not in failing]
    if not kept:
        return Folded(state, facts=pl.DataFrame(), rejected=aside, clocks={}, observations=0)
    done = fold.fold(state, prepared(fold, records[kept]))
    numbers = [kept[row] for row in done.rejected["row"]]
    rejected = pl.DataFrame(
        {"row": numbers, "reason": done.rejected["reason"], "detail": done.rejected["detail"]},
        schema=aside.schema,
    )
    return Folded(
        state=done.state,
        facts=done.facts,
        rejected=pl.concat([rejected, aside]).sort("row"),
        clocks=done.clocks,
        observations=done.observations,
        messages=done.messages,
        live=done.live,
    )
