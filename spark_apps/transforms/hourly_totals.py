"""Records counted and added up by key and hour, from a function that reads one record: all that a simple stream needs.

    def parse(value: bytes) -> Mapping[str, object]:
        fields = json.loads(value)
        return {"at": datetime.fromtimestamp(fields["at"], UTC), "page": fields["page"], "bytes": fields["bytes"]}

    HourlyTotals("page_views", parse, keys=("page",), sums=("bytes",), count="views")

gives the facts page, window_start, window_end, views, bytes. What `parse` raises, and a field of another type, rejects
that record alone, with the reason. Event time is judged as in every stream: a record may be late by `late_by`, and
dated after its arrival by five minutes. The result does not depend on where micro-batches are cut.

A record that comes twice counts twice, unless `identity` names a text field of `parse` by which it is known: then it
counts once, for as long as a repeat would still be in time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from spark_apps.runtime.keyed_fold import Folded
from spark_apps.transforms.event_time import (
    HOUR,
    REJECTED,
    advance,
    clocks,
    judge,
    rejections,
    sources_schema,
    window_columns,
)
from spark_apps.transforms.frame_pack import pack_frames, unpack_frames
from spark_apps.transforms.hour_rows import add_to_hours

Parse = Callable[[bytes], Mapping[str, Any]]
END_OF_INPUT = b"end_of_input"
"""Key of a record that says that nothing more comes."""
STATE_SCHEMA = 1
LARGEST = 10**12
"""Of a number that is added up: so many of them fit into an int64 as an hour can have."""
SEEN = {"identity": pl.String, "at": pl.Int64}
MILLIS = 1000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Totals:
    """`hours`: keys, hour, count, sums of the open hours. `seen`: the records that could still be repeated."""

    hours: pl.DataFrame
    sources: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=sources_schema()))
    seen: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=SEEN))


@dataclass(frozen=True)
class HourlyTotals:
    """`parse`: a record to `at` (an aware datetime), the keys (text), the sums (whole numbers), and the identity.

    It must be a function of a module, so that it can be sent to executors. `name` tells this state from others.
    """

    name: str
    parse: Parse
    keys: tuple[str, ...]
    sums: tuple[str, ...] = ()
    count: str = "records"
    late_by: timedelta = timedelta(hours=2)
    identity: str | None = None

    @property
    def is_divisible(self) -> bool:
        return False  # one clock for all records

    @property
    def lookback(self) -> timedelta | None:
        return timedelta(0)  # an hour is counted from records of that hour alone

    def empty(self) -> Totals:
        return Totals(pl.DataFrame(schema=self._hours))

    def fold(self, state: Totals, records: pl.DataFrame) -> Folded:
        rows, unread = self._parsed(records)
        judged = judge(rows, state.sources, late_by=int(self.late_by.total_seconds()), units=MILLIS)
        in_time = judged.filter(pl.col("reason").is_null())
        sources = advance(state.sources, in_time)
        fresh, seen = self._without_repeats(in_time.filter(~pl.col("end_of_input")), state.seen)
        hours, changed = add_to_hours(state.hours, self._added(fresh))
        newest = sources["newest_at"].max() if sources.height else None
        open_since = (newest if isinstance(newest, int) else 0) - int(self.late_by.total_seconds() * MILLIS)
        rejected = judged.filter(pl.col("reason").is_not_null()).select(list(REJECTED))
        return Folded(
            state=Totals(
                hours=hours.filter(pl.col("hour") >= open_since // (HOUR * MILLIS)),
                sources=sources,
                seen=seen.filter(pl.col("at") >= open_since),
            ),
            facts=changed.select(*self.keys, **window_columns(pl.col("hour")), **self._numbers),
            rejected=pl.concat([unread, rejected]).sort("row"),
            clocks=clocks(sources, units=MILLIS),
            observations=fresh.height,
        )

    def pack(self, state: Totals) -> bytes:
        return pack_frames(self.name, STATE_SCHEMA, vars(state))

    def unpack(self, body: bytes) -> Totals:
        columns = {"hours": self._hours, "sources": sources_schema(), "seen": SEEN}
        return Totals(**unpack_frames(body, self.name, STATE_SCHEMA, columns))

    @property
    def _hours(self) -> dict[str, type[pl.DataType]]:
        numbers = dict.fromkeys([self.count, *self.sums], pl.Int64)
        return {**dict.fromkeys(self.keys, pl.String), "hour": pl.Int64, **numbers}

    @property
    def _numbers(self) -> dict[str, pl.Expr]:
        return {name: pl.col(name) for name in (self.count, *self.sums)}

    def _parsed(self, records: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """The records that can be read, and why the others cannot."""
        rows: list[dict[str, Any]] = []
        wrong: list[tuple[int, str, str]] = []
        texts = (*self.keys, *([self.identity] if self.identity else ()))
        for row, (key, value, arrived) in enumerate(records.select("key", "value", "timestamp").iter_rows()):
            common = {"row": row, "source": self.name, "kafka_at": arrived}
            if key == END_OF_INPUT:
                rows.append({**common, "end_of_input": True})
                continue
            try:
                rows.append({**common, "end_of_input": False, **self._checked(value, texts)})
            except Exception as error:  # whatever is wrong with one record is no reason to stop at it
                said = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
                wrong.append((row, "no_value" if value is None else "unreadable", said[:500]))
        schema = {
            "row": pl.UInt32, "source": pl.String, "kafka_at": pl.Int64, "end_of_input": pl.Boolean, "at": pl.Int64,
            **dict.fromkeys(texts, pl.String), **dict.fromkeys(self.sums, pl.Int64),
        }  # fmt: skip
        return pl.DataFrame(rows, schema=schema), rejections(wrong)

    def _checked(self, value: bytes | None, texts: tuple[str, ...]) -> dict[str, Any]:
        if value is None:
            raise ValueError("a message without a value")
        found = self.parse(value)
        at = found["at"]
        if not isinstance(at, datetime) or at.tzinfo is None:
            raise ValueError(f"at is {at!r}, not a time with a zone")
        for name in texts:
            if not isinstance(found[name], str):
                raise ValueError(f"{name} is {found[name]!r}, not a text")
        for name in self.sums:
            number = found[name]
            if not isinstance(number, int) or isinstance(number, bool) or abs(number) > LARGEST:
                raise ValueError(f"{name} is {number!r}, not a whole number of at most 12 digits")
        return {
            "at": (at - EPOCH) // timedelta(milliseconds=1),
            **{name: found[name] for name in (*texts, *self.sums)},
        }

    def _without_repeats(self, rows: pl.DataFrame, seen: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        if self.identity is None:
            return rows, seen
        known = pl.col(self.identity).is_in(seen["identity"].implode())
        fresh = rows.filter(~known).unique(self.identity, keep="first", maintain_order=True)
        return fresh, pl.concat([seen, fresh.select(identity=self.identity, at="at")])

    def _added(self, fresh: pl.DataFrame) -> pl.DataFrame:
        numbers = {name: pl.col(name).sum() for name in self.sums}
        return (
            fresh.group_by(*self.keys, hour=pl.col("at") // (HOUR * MILLIS))
            .agg(**{self.count: pl.len().cast(pl.Int64)}, **numbers)
            .select(list(self._hours))
        )
