"""The digest of an hour's content, against the canonical form written out with `struct`."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal

import polars as pl
import pytest

from millrace.catalog import DatasetSpec
from millrace.publish.codec import decode_hour, encode_hour
from millrace.publish.content import content_digest
from millrace.publish.hour import HourState

DATASET = DatasetSpec(
    name="all",
    prefix="all",
    keys=["name"],
    columns={
        "name": "string",
        "n": "int64",
        "small": "int32",
        "share": "double",
        "open": "boolean",
        "at": "timestamp",
        "amount": "decimal",
    },
    writers=["w"],
)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EXACT = Context(prec=38)
LARGEST = Decimal("9" * 32 + "." + "9" * 6)
Row = tuple[str, int, int, float, bool, datetime, Decimal, int]
ROWS: list[Row] = [
    ("", -1, -(2**31), 0.5, True, datetime(2026, 3, 1, 12, 30, 0, 7, UTC), LARGEST.copy_negate(), 2**62),
    (
        "Bahnhof Süd",
        2**63 - 1,
        3,
        float("-inf"),
        False,
        datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC),
        LARGEST,
        0,
    ),
    ("東京", 0, 0, -0.0, True, EPOCH, Decimal("1.5"), 5),
]


def hour(rows: list[Row]) -> HourState:
    types = [
        pl.String(),
        pl.Int64(),
        pl.Int32(),
        pl.Float64(),
        pl.Boolean(),
        pl.Datetime("us", "UTC"),
        pl.Decimal(38, 6),
        pl.Int64(),
    ]
    names = [*DATASET.columns, "version"]
    return HourState(pl.DataFrame(rows, schema=dict(zip(names, types, strict=True)), orient="row"))


def written_out(rows: list[Row], floor: int) -> str:
    """The canonical form by the words of `millrace.publish.content`."""
    text = f"millrace content 1\n{floor}\n".encode()
    kinds = {**DATASET.columns, "version": "int64"}
    for number, (name, kind) in enumerate(kinds.items()):
        values = [row[number] for row in sorted(rows, key=lambda row: row[0].encode())]
        text += f"{name} {kind} {len(values)}\n".encode()
        if kind == "string":
            encoded = [str(value).encode() for value in values]
            text += b"".join(struct.pack("<q", len(one)) for one in encoded) + b"".join(encoded)
        elif kind == "timestamp":
            text += b"".join(
                struct.pack("<q", (value - EPOCH) // timedelta(microseconds=1)) for value in values
            )
        elif kind == "decimal":
            millionths = [int(value.scaleb(6, EXACT)) for value in values]
            text += b"".join(one.to_bytes(16, "little", signed=True) for one in millionths)
        else:
            text += b"".join(
                struct.pack({"double": "<d", "boolean": "<?"}.get(kind, "<q"), value) for value in values
            )
    return hashlib.sha256(text).hexdigest()


@pytest.mark.parametrize("rows", [ROWS, ROWS[:1], []])
def test_it_is_what_its_description_says(rows: list[Row]) -> None:
    assert content_digest(hour(rows), DATASET) == written_out(rows, 0)
    assert content_digest(replace(hour(rows), replay_floor=3), DATASET) == written_out(rows, 3)


def test_neither_the_order_of_rows_nor_how_they_were_stored_matters() -> None:
    state = hour(ROWS)
    wanted = content_digest(state, DATASET)
    assert content_digest(hour(ROWS[::-1]), DATASET) == wanted
    assert content_digest(decode_hour(encode_hour(state, DATASET), DATASET, "here"), DATASET) == wanted
    in_pieces = pl.concat([state.rows[:1], state.rows[1:]], rechunk=False)
    assert content_digest(replace(state, rows=in_pieces), DATASET) == wanted


def test_marks_do_not_matter() -> None:
    state = hour(ROWS)
    marked = replace(state, seals={"w": 3}, final=3, rev=7, quality={"outcome": "passed"})
    assert content_digest(marked, DATASET) == content_digest(state, DATASET)


def test_each_value_of_each_column_matters_and_where_one_ends() -> None:
    other: Row = ("x", 9, 9, 9.0, False, EPOCH + timedelta(hours=9), Decimal(9), 9)
    digests = {content_digest(hour(ROWS), DATASET)}
    for number in range(len(other)):
        row = tuple(
            new if at == number else old for at, (old, new) in enumerate(zip(ROWS[0], other, strict=True))
        )
        digests.add(content_digest(hour([row, *ROWS[1:]]), DATASET))  # type: ignore[list-item]
    assert len(digests) == 1 + len(other)
    ab_c, a_bc = ([(name, *ROWS[0][1:]) for name in names] for names in (("ab", "c"), ("a", "bc")))
    assert content_digest(hour(ab_c), DATASET) != content_digest(hour(a_bc), DATASET)


def test_one_nan_is_as_good_as_another() -> None:
    quiet, other = (
        struct.unpack("<d", struct.pack("<Q", bits))[0] for bits in (0x7FF8 << 48, 0xFFF8 << 48 | 1)
    )
    one, two = ([("a", 0, 0, nan, True, EPOCH, Decimal(0), 0)] for nan in (quiet, other))
    assert content_digest(hour(one), DATASET) == content_digest(hour(two), DATASET)
