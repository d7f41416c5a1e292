"""The raw observations of the open hours, as compressed chunks that are decoded only for late ones.

Chunks of like size are merged, eight at a time, so that an observation is rewritten a few times in its
life and a state holds a few dozen chunks however small the micro-batches are.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

OBSERVATIONS = {"system_id": pl.String, "station_id": pl.String, "observed_at": pl.Int64, "bikes": pl.Int32}
FAN_IN = 8
LARGEST_MERGE = 1_000_000
"""Rows; merging beyond this would cost more memory than the few chunks it saves are worth."""


@dataclass(frozen=True)
class Chunk:
    """Observations of some systems. `last_seen`: per system, the newest of them (epoch seconds)."""

    rows: int
    last_seen: Mapping[str, int]
    body: bytes


ObservationLog = tuple[Chunk, ...]


def append(log: ObservationLog, observations: pl.DataFrame, open_since: Mapping[str, int]) -> ObservationLog:
    """The log with more observations, without chunks whose every observation is before `open_since`.

    `open_since`: per system, the start of its oldest open hour (epoch seconds).
    """
    kept = [chunk for chunk in log if _is_open(chunk, open_since)]
    fresh = _still_open(observations, open_since)
    if fresh.height:
        kept.append(_encode(fresh))
    return tuple(_merged(kept, open_since))


def read(log: ObservationLog, since: Mapping[str, int]) -> pl.DataFrame:
    """The observations of the named systems from each one's time on (epoch seconds)."""
    frames = [
        _still_open(_decode(chunk), since, only_named=True)
        for chunk in log
        if any(chunk.last_seen.get(system, -1) >= time for system, time in since.items())
    ]
    return pl.concat(frames) if frames else pl.DataFrame(schema=OBSERVATIONS)


def _merged(chunks: list[Chunk], open_since: Mapping[str, int]) -> list[Chunk]:
    while len(chunks) >= FAN_IN:
        tail = chunks[-FAN_IN:]
        rows = [chunk.rows for chunk in tail]
        if max(rows) >= FAN_IN * min(rows) or sum(rows) > LARGEST_MERGE:
            break
        merged = _still_open(pl.concat([_decode(chunk) for chunk in tail]), open_since)
        chunks = chunks[:-FAN_IN]
        if merged.height:
            chunks.append(_encode(merged))
    return chunks


def _is_open(chunk: Chunk, open_since: Mapping[str, int]) -> bool:
    return any(last >= open_since.get(system, 0) for system, last in chunk.last_seen.items())


def _still_open(
    observations: pl.DataFrame, since: Mapping[str, int], *, only_named: bool = False
) -> pl.DataFrame:
    limits = pl.DataFrame(
        {"system_id": list(since), "_since": list(since.values())},
        schema={"system_id": pl.String, "_since": pl.Int64},
    )
    # The cheap test first: in a catch-up it leaves a few hours of several days to look up by system.
    observations = observations.filter(pl.col("observed_at") >= min(since.values(), default=0))
    joined = observations.join(limits, on="system_id", how="inner" if only_named else "left")
    return joined.filter(pl.col("observed_at") >= pl.col("_since").fill_null(0)).drop("_since")


def _encode(observations: pl.DataFrame) -> Chunk:
    # By station, times rise and counts repeat, which is what makes a chunk small. Stations are numbered first:
    # sorting by their names takes four times as long.
    names = ["system_id", "station_id"]
    numbers = observations.select(names).unique().sort(names).with_row_index("number")
    ordered = observations.join(numbers, on=names, maintain_order="left").sort(
        "observed_at", maintain_order=True
    )
    ordered = ordered.sort("number", maintain_order=True).select(list(OBSERVATIONS))
    body = io.BytesIO()
    ordered.write_parquet(body, compression="zstd", compression_level=1, statistics=False)
    last = ordered.group_by("system_id", maintain_order=True).agg(pl.col("observed_at").max())
    return Chunk(rows=ordered.height, last_seen=dict(last.iter_rows()), body=body.getvalue())


def _decode(chunk: Chunk) -> pl.DataFrame:
    return pl.read_parquet(io.BytesIO(chunk.body), use_statistics=False)
