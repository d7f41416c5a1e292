"""Posts -> Kafka -> driver -> top of the newest window and facts -> compaction, against a plain recount."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from millrace.control.live import read_live
from millrace.settings import Settings
from millrace.store import open_store
from tests.integration.crowd import as_arrived, finished, killed_twice, posts_of_a_crowd
from tests.integration.millrace_command import millrace
from tests.integration.streams import make_stream, published_rows, rejected_rows
from tests.oracles.posts import posts_of, tags_by_hour, top_tags

pytestmark = pytest.mark.stack
WINDOW, SLIDE = 900_000, 2_000


def test_killed_twice_with_repeats_and_garbage_it_is_exact(
    tmp_path: Path, store_settings: Settings, kafka: str
) -> None:
    options = {"window": "15min", "slide": "2s", "top": 3}
    stream = make_stream(
        tmp_path, store_settings, kafka, "trending_hashtags", max_messages_per_batch=50, options=options
    )
    made = posts_of_a_crowd(1, 500)
    killed_twice(stream, made, random.Random(1))
    book = posts_of(as_arrived(made), late_by=600)
    finished(stream, len(made), newest_at=book.newest_at)
    store = open_store(stream.settings)
    rows, states = published_rows(stream)
    assert {
        (row["source"], row["tag"], int(row["window_start"].timestamp()) // 3600): (row["posts"], row["uses"])
        for row in rows
    } == tags_by_hour(book)
    assert len(rows) == len(tags_by_hour(book))
    assert states == {"final"}
    found = rejected_rows(stream)
    assert [row["offset"] for row in sorted(found, key=lambda row: row["offset"])] == [
        number for number, _ in sorted(book.rejected)
    ]
    assert {reason for _, reason in book.rejected} >= {"too_late", "conflicting_id", "malformed"}
    view = read_live(store, stream.name)
    assert view is not None
    assert view.driver_epoch == 3
    end = (book.newest_at or 0) // SLIDE * SLIDE
    top = top_tags(book, end=end, window=WINDOW, at_most=3)
    assert len(top) == 3
    assert [(row["tag"], row["count"]) for row in view.content["top"]] == top
    watched = millrace(
        stream.settings, stream.catalog_dir, "watch", "hashtags", "--once", "--png", str(tmp_path / "top.png")
    )
    assert watched.returncode == 0, watched.stderr
    shown = [line.split() for line in watched.stdout.splitlines()[1:4]]
    assert [(words[0], int(words[-1])) for words in shown] == top
    assert "trending_hashtags is stopped" in watched.stdout
    assert (tmp_path / "top.png").read_bytes().startswith(b"\x89PNG")
