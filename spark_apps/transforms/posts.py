"""Kafka records to posts: topic `posts` of docs/schemas.md, each record judged by itself.

A post table has one row per message:

| column | type | meaning |
|---|---|---|
| row | uint32 | which record of the input it was |
| source | string | the kind of feed that it came through; each has a clock of its own |
| post_id, user_id | string | null in an end of input |
| posted_at | int64 | event time, epoch milliseconds UTC |
| text | string | null in an end of input |
| tags | list of string | lower-cased, with their `#`, in order, with repeats |
| kafka_at | int64 | when the broker appended it, epoch milliseconds UTC |
| end_of_input | bool | the source will send no more |
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
import polars as pl
from msgspec import Meta, Struct

from millrace.feeds.posts.model import Source
from spark_apps.transforms.event_time import rejections

MILLISECONDS = 1000
"""Units of `posted_at` per second."""
LATEST_TIME = 4_102_444_799_999
"""2099-12-31T23:59:59.999Z, as posts.schema.json has it."""

POSTS: dict[str, pl.DataType | type[pl.DataType]] = {
    "row": pl.UInt32,
    "source": pl.String,
    "post_id": pl.String,
    "user_id": pl.String,
    "posted_at": pl.Int64,
    "text": pl.String,
    "tags": pl.List(pl.String),
    "kafka_at": pl.Int64,
    "end_of_input": pl.Boolean,
}

_Id = Annotated[str, Meta(min_length=1)]
_Time = Annotated[int, Meta(ge=1, le=LATEST_TIME)]
_Tag = Annotated[str, Meta(pattern="^#[^#]")]


class _Post(Struct, tag_field="kind", tag="post"):
    schema: Literal[1]
    source: Source
    post_id: _Id
    user_id: _Id
    posted_at: _Time
    text: str
    tags: list[_Tag]


class _End(Struct, tag_field="kind", tag="end_of_input"):
    schema: Literal[1]
    source: Source
    posted_at: _Time


# Not Arrow's JSON reader, as for polls: a post is small, so parsing many at once gains nothing (1.8 us each here),
# and a decoder that sees one record at a time cannot let a bad one spoil its neighbours.
_DECODER = msgspec.json.Decoder(_Post | _End)

_REASONS = {
    "schema": "unknown_schema",
    "source": "unknown_source",
    "post_id": "bad_id",
    "user_id": "bad_id",
    "posted_at": "bad_time",
    "text": "bad_text",
    "tags": "bad_tags",
}


@dataclass(frozen=True)
class ParsedPosts:
    """The posts in the order of the records, and the records that are none (row, reason, detail)."""

    posts: pl.DataFrame
    rejected: pl.DataFrame


def parse_posts(values: pl.Series, keys: pl.Series, kafka_at: pl.Series) -> ParsedPosts:
    """Parse records; what is no post comes back with its reason. `kafka_at` in epoch milliseconds."""
    rows: list[tuple[object, ...]] = []
    rejected: list[tuple[int, str, str]] = []
    for number, (value, key, arrived) in enumerate(zip(values, keys, kafka_at, strict=True)):
        try:
            found = _DECODER.decode(value or b"")
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            rejected.append((number, *_why(value, error)))
            continue
        owner = found.user_id if isinstance(found, _Post) else found.source
        if key != owner.encode():
            name = "user_id" if isinstance(found, _Post) else "source"
            rejected.append((number, "key_mismatch", f"the record's key is not its {name}, {owner!r}"))
        elif isinstance(found, _Post):
            content = (found.post_id, found.user_id, found.posted_at, found.text, found.tags)
            rows.append((number, found.source, *content, arrived, False))
        else:
            rows.append((number, found.source, None, None, found.posted_at, None, [], arrived, True))
    return ParsedPosts(pl.DataFrame(rows, schema=POSTS, orient="row"), rejections(rejected))


def _why(value: bytes | None, error: Exception) -> tuple[str, str]:
    """Why one record is not a post, as (reason, detail) for a person."""
    if not value or not value.strip():
        return "empty", "the record has no value"
    if isinstance(error, RecursionError):
        return "not_json", "nested too deeply"
    if not isinstance(error, msgspec.ValidationError):
        return "not_json", str(error)
    field = re.search(r"\$\.(\w+)", str(error))
    return _REASONS.get(field[1] if field else "", "not_a_post"), str(error)
