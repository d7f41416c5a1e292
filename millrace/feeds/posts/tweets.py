"""A CSV of recorded tweets as posts. Its header names at least `created_at`, `id`, `screen_name` and `text`."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from millrace.feeds.compressed import Lines, RecordedError
from millrace.feeds.model import Rejection, Unreadable
from millrace.feeds.posts.model import Post
from millrace.feeds.posts.tags import text_tags
from millrace.feeds.reading import identifier

COLUMNS = ("created_at", "id", "screen_name", "text")


def read_tweets(path: Path) -> Iterator[Post | Rejection]:
    """Every row of the file in order: a post, or why it is none. Raises RecordedError for a file that is no such CSV.

    `created_at` is `YYYY-MM-DD HH:MM:SS` in UTC; bytes that are no UTF-8 become U+FFFD.
    """
    with Lines(path) as (lines, _):
        rows = csv.reader(line.decode("utf-8", "replace") for line in _without_bom(lines))
        header = next(rows, [])
        missing = [name for name in COLUMNS if name not in header]
        if missing:
            raise RecordedError(
                f"{path}:1: the header has no column {', '.join(map(repr, missing))}; a CSV of tweets has "
                f"{', '.join(COLUMNS)}, and may have others"
            )
        try:
            for row in rows:
                if row:
                    yield _read(header, row)
        except csv.Error as error:
            raise RecordedError(f"{path}:{rows.line_num}: {error}") from None


def _read(header: list[str], row: list[str]) -> Post | Rejection:
    try:
        return _post(header, row)
    except Unreadable as error:
        text = io.StringIO()
        csv.writer(text, lineterminator="").writerow(row)
        return Rejection(error.reason, error.detail, text.getvalue().encode("utf-8", "replace"))


def _post(header: list[str], row: list[str]) -> Post:
    if len(row) != len(header):
        raise Unreadable("missing_field", f"{len(row)} columns, the header has {len(header)}")
    tweet = dict(zip(header, row, strict=True))
    try:
        moment = datetime.strptime(tweet["created_at"], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        raise Unreadable(
            "bad_time", f"created_at is {tweet['created_at'][:40]!r}, not YYYY-MM-DD HH:MM:SS"
        ) from None
    if moment.year < 1971:
        raise Unreadable("bad_time", f"created_at is {tweet['created_at']}, before there were tweets")
    return Post(
        source="tweets",
        post_id=identifier(tweet["id"], "id"),
        user_id=identifier(tweet["screen_name"], "screen_name"),
        posted_at=int(moment.timestamp()) * 1000,
        text=tweet["text"],
        tags=text_tags(tweet["text"]),
    )


def _without_bom(lines: IO[bytes]) -> Iterator[bytes]:
    for number, line in enumerate(lines):
        yield line if number else line.removeprefix(b"\xef\xbb\xbf")
