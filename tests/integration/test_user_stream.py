"""Posts -> Kafka -> driver -> active users, moods and facts -> compaction, against a plain recount of the posts."""

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
from tests.oracles.posts import posts_of
from tests.oracles.users import felt_by, lists_of, users_by_hour

pytestmark = pytest.mark.stack
WINDOW, SLIDE = 1_800_000, 7_000


def test_killed_twice_with_repeats_and_garbage_it_is_exact(
    tmp_path: Path, store_settings: Settings, kafka: str
) -> None:
    options = {"window": "30min", "slide": "7s", "alpha": 0.3, "expire_after": "1h", "top": 5}
    stream = make_stream(
        tmp_path, store_settings, kafka, "user_activity", max_messages_per_batch=50, options=options
    )
    made = posts_of_a_crowd(2, 500)
    killed_twice(stream, made, random.Random(2))
    book = posts_of(as_arrived(made), late_by=600)
    users, felt = felt_by(book, alpha=0.3, expire_after=3_600_000)
    finished(stream, len(made), newest_at=book.newest_at)
    store = open_store(stream.settings)
    rows, states = published_rows(stream)
    recount = users_by_hour(felt)
    assert {
        (row["source"], row["user_id"], int(row["window_start"].timestamp()) // 3600): (
            row["requests"],
            row["mean_score"],
            row["mood"],
            round(row["last_posted_at"].timestamp() * 1000),
        )
        for row in rows
    } == recount
    assert len(rows) == len(recount)
    assert states == {"final"}
    assert {row["offset"] for row in rejected_rows(stream)} == {number for number, _ in book.rejected}
    view = read_live(store, stream.name)
    assert view is not None
    assert view.driver_epoch == 3
    end = (book.newest_at or 0) // SLIDE * SLIDE
    active, moved, count = lists_of(users, felt, begin=end - WINDOW, end=end, at_most=5)
    assert len(active) == len(moved) == 5
    shown = (view.content["most_active"], view.content["top_movers"], view.content["users"])
    assert shown == (active, moved, count)
    watched = millrace(stream.settings, stream.catalog_dir, "watch", "users", "--once")
    assert watched.returncode == 0, watched.stderr
    assert [line.split()[0] for line in watched.stdout.splitlines()[1:6]] == [
        row["user_id"] for row in active
    ]
    assert sum(known.requests for known in users.values()) < len(felt), "somebody came back after the expiry"
