"""Joining landing objects that were read together: which of their rows are newest, which objects add nothing.

Nearly all rows of an hour are older than the newest of their keys. So of all objects only the columns that
decide are decoded, in one call, and the others only of those objects that have a newest row.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from millrace.publish.codec import FormatError, decode_facts, decode_together, empty_hour
from millrace.publish.hour import VERSION, HourState, add_nothing, may_add, newest_of
from millrace.publish.layout import LandingName

if TYPE_CHECKING:
    import polars as pl

    from millrace.catalog import DatasetSpec


@dataclass(frozen=True, eq=False)
class Joined:
    """What some landing objects say together.

    `newest`: the newest row per key of those that count. `adding`: for each that counts, whether it adds
    anything to the published hour. `errors`: why the others do not count. `read`: rows of those that do.
    `conflicts`: keys with different contents under one version.
    """

    newest: pl.DataFrame
    adding: Mapping[str, bool]
    errors: Mapping[str, str]
    read: int
    conflicts: int


def join_objects(
    bodies: Mapping[str, bytes],
    names: Mapping[str, LandingName],
    published: HourState,
    dataset: DatasetSpec,
) -> Joined:
    """Join landing objects (key, content) by the dataset's keys."""
    whole = {key: body for key, body in bodies.items() if _is_what_it_is_named_after(body, names[key])}
    errors = {
        key: f"{key}: {len(body)} bytes that are not the ones it is named after: truncated or foreign"
        for key, body in bodies.items()
        if key not in whole
    }
    found = _together(whole, names, published, dataset) or _one_by_one(whole, names, published, dataset)
    return Joined(found.newest, found.adding, {**errors, **found.errors}, found.read, found.conflicts)


def _together(
    whole: Mapping[str, bytes], names: Mapping[str, LandingName], published: HourState, dataset: DatasetSpec
) -> Joined | None:
    """None unless each object is exactly as this version writes it, under the version that its name says."""
    keys, bodies = list(whole), list(whole.values())
    if not keys:
        return None
    stubs = decode_together(bodies, dataset, [*dataset.keys, VERSION])
    if stubs is None or any(_other_version(rows, names[key]) for key, rows in zip(keys, stubs, strict=True)):
        return None
    versions = [names[key].version.packed() for key in keys]
    deciding = _with_newest_rows(stubs, versions, dataset.keys)
    adding, again = may_add(stubs, published, dataset.keys)
    again = again - adding
    needed = sorted({*deciding, *again})
    decoded = decode_together([bodies[number] for number in needed], dataset)
    if decoded is None:
        return None
    frames = dict(zip(needed, decoded, strict=True))
    newest, conflicts = newest_of([frames[number] for number in deciding], dataset.keys)
    adding = adding | {
        number for number in again if not add_nothing([frames[number]], published, dataset.keys)[0]
    }
    return Joined(
        newest=newest,
        adding={key: number in adding for number, key in enumerate(keys)},
        errors={},
        read=sum(rows.height for rows in stubs),
        conflicts=conflicts,
    )


def _one_by_one(
    whole: Mapping[str, bytes], names: Mapping[str, LandingName], published: HourState, dataset: DatasetSpec
) -> Joined:
    """So that an object that cannot be counted is named, and the others go on."""
    frames: dict[str, pl.DataFrame] = {}
    errors: dict[str, str] = {}
    for key, body in whole.items():
        try:
            rows = decode_facts(body, dataset, key)
        except FormatError as error:
            errors[key] = str(error)
            continue
        if _other_version(rows, names[key]):
            errors[key] = f"{key}: its rows carry other versions than its name"
        else:
            frames[key] = rows
    newest, conflicts = newest_of([empty_hour(dataset).rows, *frames.values()], dataset.keys)
    nothing_new = add_nothing(list(frames.values()), published, dataset.keys)
    return Joined(
        newest=newest,
        adding={key: not nothing for key, nothing in zip(frames, nothing_new, strict=True)},
        errors=errors,
        read=sum(rows.height for rows in frames.values()),
        conflicts=conflicts,
    )


def _with_newest_rows(
    stubs: Sequence[pl.DataFrame], versions: Sequence[int], keys: Sequence[str]
) -> Collection[int]:
    """Which frames have at least one row that no other has newer; `stubs` hold keys and version."""
    import polars as pl

    newest = max(range(len(stubs)), key=versions.__getitem__)
    # A stream that writes all its keys in every micro-batch is common, and seen without hashing a row.
    left = [
        number
        for number, rows in enumerate(stubs)
        if versions[number] == versions[newest]
        or not all(rows[key].equals(stubs[newest][key]) for key in keys)
    ]
    if left == [newest]:
        return left
    numbered = [stubs[number].with_columns(pl.lit(number, pl.Int32).alias("_frame")) for number in left]
    rows = pl.concat(numbered)
    best = rows.filter(pl.col(VERSION) == pl.col(VERSION).max().over(keys))
    return sorted({newest, *best["_frame"].unique()})


def _is_what_it_is_named_after(body: bytes, name: LandingName) -> bool:
    return hashlib.sha256(body).hexdigest()[:16] == name.digest


def _other_version(rows: pl.DataFrame, name: LandingName) -> bool:
    versions, named = rows[VERSION], name.version.packed()
    return bool(rows.height) and (versions.min(), versions.max()) != (named, named)
