"""Records of topic `posts` for tests: single ones, and whole histories that go wrong in every way."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import polars as pl
from hypothesis import strategies as st

from spark_apps.runtime.keyed_fold import RECORDS
from tests.oracles.posts import Record

START = int(datetime(2026, 3, 1, 22, 50, tzinfo=UTC).timestamp()) * 1000


def post(
    at: int,
    post_id: str = "1",
    user: str = "ann",
    text: str = "",
    tags: tuple[str, ...] = (),
    source: str = "demo",
) -> tuple[bytes, bytes]:
    """Key and value of a post; `at` in epoch milliseconds."""
    message = {
        "schema": 1,
        "kind": "post",
        "source": source,
        "post_id": post_id,
        "user_id": user,
        "posted_at": at,
        "text": text,
        "tags": list(tags),
    }
    return user.encode(), json.dumps(message, ensure_ascii=False).encode()


def end(at: int, source: str = "demo") -> tuple[bytes, bytes]:
    """Key and value of an end of input."""
    message = {"schema": 1, "kind": "end_of_input", "source": source, "posted_at": at}
    return source.encode(), json.dumps(message).encode()


def records(batch: list[Record], first: int = 0) -> pl.DataFrame:
    """A micro-batch as a fold gets it."""
    rows = [(key, value, 0, first + number, arrived) for number, (key, value, arrived) in enumerate(batch)]
    return pl.DataFrame(rows, schema=RECORDS, orient="row")


GARBAGE: list[tuple[bytes | None, bytes | None]] = [
    (None, None),
    (b"ann", b""),
    (b"ann", b"null"),
    (b"ann", b'{"schema":1,'),
    (b"ann", b"}{"),
    (b"ann", b"\xff\xfe"),
    (b"ann", b"[1,2]"),
    (b"ann", b'{"x":' + b"[" * 5000),
    (b"bob", post(START)[1]),
    (b"ann", post(START)[1].replace(b'"schema": 1', b'"schema": 2')),
    (b"ann", post(START)[1].replace(b'"demo"', b'"elsewhere"')),
    (b"ann", post(START)[1].replace(b"[]", b'["no hash"]')),
    (b"ann", post(START)[1].replace(b'"text": ""', b'"text": "\\ud83d"')),
]
TEXTS = (
    "",
    "I love this 😍",
    "what a terrible day 😡",
    "on my way",
    "GREAT!!! not bad",
    "따릉이 🚲",
    "great",
)
TAGS = ("#a", "#b", "#c", "#서울", "#日本", "#a_1", "#é")


@st.composite
def histories(
    draw: st.DrawFn, step_ms: tuple[int, ...], late_ms: tuple[int, ...]
) -> tuple[list[Record], list[int]]:
    """Records of several sources with repeats, contradictions, late and future posts and garbage, and where to cut.

    `step_ms`: by how much time may go on from post to post; `late_ms`: by how much a post may be behind that.
    """
    batch: list[Record] = []
    at = START
    for _ in range(draw(st.integers(1, 40))):
        at += draw(st.sampled_from(step_ms))
        when = at - draw(st.sampled_from([*[0] * len(late_ms), *late_ms]))
        made = post(
            when,
            str(draw(st.integers(1, 12))),
            draw(st.sampled_from(["ann", "bob", "eve", "朴"])),
            draw(st.sampled_from(TEXTS)),
            tuple(draw(st.lists(st.sampled_from(TAGS), max_size=4))),
            draw(st.sampled_from(["demo", "demo", "tweets", "jetstream"])),
        )
        what = draw(st.integers(0, 9))
        if what == 0:
            made = draw(st.sampled_from(GARBAGE))
        elif what == 1:
            made = end(when, draw(st.sampled_from(["demo", "tweets"])))
        batch.append((*made, at))
    for number in draw(st.lists(st.integers(0, len(batch) - 1), max_size=8)):
        key, value, _ = batch[number]
        place = draw(st.integers(number + 1, len(batch)))
        batch.insert(place, (key, value, batch[place - 1][2]))
    if draw(st.booleans()):
        batch = draw(st.permutations(batch))
    cuts = sorted(draw(st.lists(st.integers(0, len(batch)), max_size=6)))
    return batch, cuts


def pieces(history: tuple[list[Record], list[int]]) -> list[tuple[int, list[Record]]]:
    """The micro-batches (first record, records) of a history; none is empty."""
    batch, cuts = history
    spans = zip([0, *cuts], [*cuts, len(batch)], strict=True)
    return [(begin, batch[begin:stop]) for begin, stop in spans if begin < stop]
