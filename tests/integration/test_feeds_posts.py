"""Made-up posts and recorded tweets, against a real broker."""

from __future__ import annotations

import json
import signal
import time
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from millrace.feeds.envelope import load_schema
from millrace.feeds.interrupted import Interrupted
from millrace.feeds.posts import demo_feed, tweets_feed
from millrace.feeds.posts.demo import dated, demo_posts
from millrace.feeds.posts.options import PostsDemoOptions, TweetsOptions
from tests.conftest import wait_until
from tests.integration.feed_bench import FeedBench, new_bench
from tests.unit.feeds.shared_data import DIRECTORY, needs_shared_data

pytestmark = pytest.mark.stack

NOON = 1_795_262_400  # 2026-11-21 12:00 UTC
SCHEMA = Draft202012Validator(load_schema("posts"))


@pytest.fixture
def bench(kafka: str, tmp_path: Path) -> FeedBench:
    return new_bench(kafka, tmp_path)


def messages(bench: FeedBench) -> list[dict[str, Any]]:
    """Everything in the topic; each message is checked against the schema and for its key."""
    found = []
    for key, value in bench.messages(bench.topic):
        message = json.loads(value)
        SCHEMA.validate(message)
        assert key.decode() == message["source" if message["kind"] == "end_of_input" else "user_id"]
        found.append(message)
    return found


def _once(bench: FeedBench, now: float, **options: object) -> None:
    with bench.context(once=True, clock=lambda: now) as context:
        demo_feed.run(context, PostsDemoOptions.model_validate(options))


def test_made_up_posts_go_on_after_the_last_of_their_seed(bench: FeedBench) -> None:
    _once(bench, NOON, seed=5, rate=3)
    _once(bench, NOON + 1, seed=6, rate=1)
    with bench.context() as context:
        for junk in (b"", b"\xff", b'{"post_id":"demo-5-9","source":"socket"}', b"demo-5-"):
            context.sink.send(junk, b"junk")
    _once(bench, NOON + 2.5, seed=5, rate=2)
    made = [dated(post, 5, NOON * 1000) for post in islice(demo_posts(5), 5)]
    posts = [json.loads(value) for _, value in bench.messages(bench.topic) if value.startswith(b'{"schema"')]
    assert [post["text"] for post in posts if post["post_id"].startswith("demo-5-")] == [
        post.text for post in made
    ]
    assert [post["posted_at"] - NOON * 1000 for post in posts] == [0, 0, 0, 1000, 2500, 2500]


def test_a_total_ends_with_the_end_of_input(bench: FeedBench) -> None:
    for later in range(3):
        _once(bench, NOON + later, rate=4, total=6)
    posts = messages(bench)
    assert [post["kind"] for post in posts] == [*["post"] * 6, "end_of_input", "end_of_input"]
    assert [post["posted_at"] for post in posts[-2:]] == [(NOON + 1) * 1000] * 2


def test_a_crowd_that_is_killed_goes_on_without_gap_and_without_repeat(bench: FeedBench) -> None:
    bench.catalog_directory({"crowd": {"kind": "posts_demo", "options": {"seed": 9, "rate": 2000}}})
    for how in (signal.SIGKILL, signal.SIGTERM):
        reached = bench.count()
        with bench.process("crowd") as process:
            wait_until(lambda enough=reached + 1000: bench.count() > enough, 30, "a thousand posts")
            process.send_signal(how)
            assert process.wait(30) == (0 if how == signal.SIGTERM else -how)
    posts = messages(bench)
    assert [post["text"] for post in posts] == [post.text for post in islice(demo_posts(9), len(posts))]
    assert all(abs(post["posted_at"] / 1000 - time.time()) < 60 for post in posts)


def _tweets(directory: Path, seconds: list[int]) -> Path:
    rows = [
        f"2017-08-27 00:{s // 60:02}:{s % 60:02},{n},user{n},tweet {n} #t{n}" for n, s in enumerate(seconds)
    ]
    path = directory / "tweets.csv"
    path.write_text("\n".join(["created_at,id,screen_name,text", *rows]) + "\n")
    return path


BEGIN = 1_503_792_000  # 2017-08-27 00:00 UTC


def _replay(bench: FeedBench, path: Path, now: float | None = None, **options: Any) -> None:
    clock = time.time if now is None else lambda: now
    with bench.context(clock=clock) as context:
        tweets_feed.run(context, TweetsOptions(file=str(path), **options))


def test_a_replay_keeps_the_recorded_times_and_ends_once(bench: FeedBench) -> None:
    path = _tweets(bench.directory, [0, 5, 3, 9])
    path.write_text(path.read_text() + "yesterday,4,user4,bad row\n")
    for _ in range(2):
        _replay(bench, path)
    posts = messages(bench)
    assert [post["posted_at"] // 1000 - BEGIN for post in posts] == [0, 5, 3, 9, 9]
    assert posts[-1] == {
        "schema": 1,
        "kind": "end_of_input",
        "source": "tweets",
        "posted_at": (BEGIN + 9) * 1000,
    }
    (letter,) = bench.dead_letters()
    assert (letter["reason"], letter["body"]) == ("bad_time", b"yesterday,4,user4,bad row")
    _replay(bench, path, again=True)
    assert len(messages(bench)) == 10


def test_moved_to_now_the_newest_is_dated_when_it_is_sent(bench: FeedBench) -> None:
    path = _tweets(bench.directory, [0, 60, 600])
    _replay(bench, path, now=NOON + 0.25, times="now")
    moments = [post["posted_at"] for post in messages(bench)]
    assert [moment - NOON * 1000 - 250 for moment in moments] == [-600_000, -540_000, 0, 0]


def test_at_real_time_every_tweet_is_dated_when_it_is_sent(bench: FeedBench) -> None:
    path = _tweets(bench.directory, [0, 1, 1, 2])
    began = time.time()
    _replay(bench, path, speed=1, times="now")
    took = time.time() - began
    moments = [post["posted_at"] / 1000 - began for post in messages(bench)]
    assert moments == pytest.approx([0, 1, 1, 2, 2], abs=took - 2 + 0.05)
    assert 2 <= took < 4


def test_a_replay_that_is_stopped_goes_on_with_the_next_tweet(bench: FeedBench) -> None:
    path = _tweets(bench.directory, [n // 2 for n in range(1000)])
    options = TweetsOptions(file=str(path), speed=50)
    with pytest.raises(Interrupted), bench.running(lambda context: tweets_feed.run(context, options)):
        wait_until(lambda: bench.count() >= 50, 20, "fifty tweets")
    assert 50 <= bench.count() < 1000
    _replay(bench, path)
    posts = messages(bench)
    assert [post["post_id"] for post in posts[:-1]] == [str(n) for n in range(1000)]
    assert posts[-1]["kind"] == "end_of_input"


def test_the_end_that_a_killed_replay_owes_is_sent_by_the_next(
    bench: FeedBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _tweets(bench.directory, [0, 5])
    with monkeypatch.context() as patch:
        patch.setattr(tweets_feed, "send_end_of_posts", lambda *_: None)
        _replay(bench, path)
    assert [post["kind"] for post in messages(bench)] == ["post", "post"]
    for _ in range(2):
        _replay(bench, path)
    assert [post["kind"] for post in messages(bench)] == ["post", "post", "end_of_input"]


@needs_shared_data
def test_the_recorded_tweets_arrive_whole(bench: FeedBench) -> None:
    _replay(bench, DIRECTORY / "tweets_mayweather_mcgregor_2017-08-27.csv")
    *posts, end = messages(bench)
    assert len(posts) == 12_118
    tags = Counter(tag for post in posts for tag in post["tags"])
    assert (tags.total(), len(tags), tags["#mayweathervmcgregor"]) == (14_495, 962, 4_593)
    assert end["posted_at"] == max(post["posted_at"] for post in posts)
