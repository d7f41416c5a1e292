"""Objects joined together say the same as each by itself, whoever wrote them."""

import io
from collections import defaultdict

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.publish.codec import decode_together, encode_facts
from millrace.publish.hour import HourState, newest_rows
from millrace.publish.joined import join_objects
from millrace.publish.layout import facts_key, parse_landing_key
from millrace.publish.version import Version
from tests.unit.publish.builders import DATASET, HOUR, rows

Fact = tuple[str, int]


def foreign(frame: pl.DataFrame) -> bytes:
    """The same facts as another writer has them: its columns may be null, one is narrower, one is more."""
    body = io.BytesIO()
    frame.with_columns(pl.col("n").cast(pl.Int32), note=pl.lit("?")).write_parquet(body)
    return body.getvalue()


def objects(batches: list[tuple[int, list[Fact], bool]]) -> dict[str, bytes]:
    made = {}
    for part, (batch, facts, ours) in enumerate(batches):
        version = Version(0, 1, batch)
        frame = rows(*((key, n, version) for key, n in facts))
        body = encode_facts(frame, DATASET) if ours else foreign(frame)
        made[facts_key(DATASET.name, HOUR, version, part, body)] = body
    return made


FACTS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 2)), max_size=4)
BATCHES = st.lists(st.tuples(st.integers(0, 3), FACTS, st.booleans()), max_size=6)
OURS = st.lists(st.tuples(st.integers(0, 3), FACTS, st.just(True)), max_size=6)


@settings(deadline=None, max_examples=300)
@given(
    batches=BATCHES | OURS,
    before=st.dictionaries(st.sampled_from("abc"), st.tuples(*[st.integers(0, 3)] * 2)),
)
def test_objects_joined_together_give_the_newest_facts_and_what_each_adds(
    batches: list[tuple[int, list[Fact], bool]], before: dict[str, tuple[int, int]]
) -> None:
    published = HourState(
        newest_rows(rows(*((key, n, Version(0, 1, batch)) for key, (batch, n) in before.items())), ["key"])[0]
    )
    bodies = objects(batches)
    found = join_objects(bodies, {key: parse_landing_key(key) for key in bodies}, published, DATASET)

    told = defaultdict(set)
    for batch, facts, _ in batches:
        for key, n in facts:
            told[key].add((batch, n))
    newest = {key: max(some) for key, some in told.items()}
    assert {(key, n, Version.unpacked(version).batch) for key, n, version in found.newest.rows()} == {
        (key, n, batch) for key, (batch, n) in newest.items()
    }
    assert found.newest.height == len(newest)
    assert not found.errors
    assert found.read == sum(len(facts) for _, facts, _ in batches)
    for (key, adds), (batch, facts, _) in zip(found.adding.items(), batches, strict=True):
        assert adds == any(
            fact not in before
            or before[fact][0] < batch
            or (before[fact][0] == batch and before[fact][1] != n)
            for fact, n in facts
        ), key
    ties = [key for key, some in told.items() if sum(batch == newest[key][0] for batch, _ in some) > 1]
    assert bool(found.conflicts) == bool(ties)


GOOD = rows(("a", 1, 7), ("b", 2, 7))


@pytest.mark.parametrize(
    "other",
    [
        GOOD.with_columns(pl.col("n").cast(pl.Int32)),
        GOOD.with_columns(pl.col("n").cast(pl.String)),
        GOOD.with_columns(n=pl.lit(None, pl.Int64)),
        GOOD.with_columns(more=pl.lit(1)),
        GOOD.drop("n"),
        GOOD.select("n", "key", "version"),
    ],
    ids=["narrower", "text", "nulls", "more", "missing", "order"],
)
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("only", [None, ["key", "version"]])
def test_what_is_not_exactly_ours_is_not_read_together_with_others(
    other: pl.DataFrame, first: bool, only: list[str] | None
) -> None:
    body = io.BytesIO()
    other.write_parquet(body)
    good = encode_facts(GOOD, DATASET)
    mixed = [body.getvalue(), good] if first else [good, body.getvalue()]
    assert decode_together(mixed, DATASET, only) is None
    assert decode_together([good, good[:-9]], DATASET, only) is None
    assert decode_together([good, b""], DATASET, only) is None


def test_objects_read_together_keep_their_own_rows() -> None:
    parts = [rows(("a", 1, 7)), rows(), rows(("a", 2, 8), ("b", 3, 8))]
    decoded = decode_together([encode_facts(part, DATASET) for part in parts], DATASET)
    assert decoded is not None
    assert [part.rows() for part in decoded] == [part.rows() for part in parts]
    stubs = decode_together([encode_facts(part, DATASET) for part in parts], DATASET, ["key", "version"])
    assert stubs is not None
    assert [part.columns for part in stubs] == [["key", "version"]] * 3
