"""Posts, made up and recorded, and their messages against the schema."""

import json
from collections import Counter
from itertools import islice, pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from millrace.feeds.compressed import RecordedError
from millrace.feeds.envelope import load_schema
from millrace.feeds.model import Rejection
from millrace.feeds.posts.demo import MOMENT, dated, demo_posts, number_of, post_id
from millrace.feeds.posts.demo_words import TAGS
from millrace.feeds.posts.envelope import end_of_posts, post_message
from millrace.feeds.posts.model import Post
from millrace.feeds.posts.tags import text_tags
from millrace.feeds.posts.tweets import read_tweets

SCHEMA = Draft202012Validator(load_schema("posts"))
NOON = 1_795_262_400_000  # 2026-11-21 12:00 UTC


@given(st.text(), st.text(min_size=1), st.integers(1, 4_000_000_000_000))
def test_every_message_follows_the_schema_and_says_what_the_post_says(
    text: str, user: str, moment: int
) -> None:
    post = Post("tweets", "1", user, moment, text, text_tags(text))
    message = json.loads(post_message(post))
    SCHEMA.validate(message)
    assert message == {
        "schema": 1,
        "kind": "post",
        "source": "tweets",
        "post_id": "1",
        "user_id": user,
        "posted_at": moment,
        "text": text,
        "tags": list(text_tags(text)),
    }


def test_half_a_surrogate_pair_does_not_stop_a_feed() -> None:
    message = json.loads(post_message(Post("tweets", "1", "u\udc00", NOON, "a \ud83d #b", ("#b",))))
    assert (message["text"], message["user_id"]) == ("a ? #b", "u?")


def test_the_end_of_input_follows_the_schema() -> None:
    message = json.loads(end_of_posts("demo", NOON))
    SCHEMA.validate(message)
    assert message == {"schema": 1, "kind": "end_of_input", "source": "demo", "posted_at": NOON}


def test_any_stretch_of_a_crowd_is_the_same_wherever_one_begins() -> None:
    whole = list(islice(demo_posts(7), 4 * MOMENT))
    assert [post.number for post in whole] == list(range(1, 4 * MOMENT + 1))
    for first in (1, 2, MOMENT, MOMENT + 1, 2 * MOMENT + 7):
        assert list(islice(demo_posts(7, first), MOMENT)) == whole[first - 1 : first - 1 + MOMENT]
    assert [post.text for post in islice(demo_posts(8), 50)] != [post.text for post in whole[:50]]


def test_made_up_posts_are_posts() -> None:
    for made in islice(demo_posts(1), 1000):
        post = dated(made, 1, NOON)
        SCHEMA.validate(json.loads(post_message(post)))
        assert number_of(post.post_id, 1) == made.number
        assert post.tags == text_tags(post.text)
    assert [number_of(text, 1) for text in ("demo-2-5", "demo-1-", "demo-1-x", "", post_id(1, 5))] == [
        *[None] * 4,
        5,
    ]


def test_the_most_frequent_tags_move_and_rare_ones_come_too() -> None:
    made = list(islice(demo_posts(1), 100 * MOMENT))
    tops, everything = [], Counter[str]()
    for begin in range(0, len(made), MOMENT):
        tags = Counter(tag for post in made[begin : begin + 100] for tag in text_tags(post.text))
        tops.append({tag for tag, _ in tags.most_common(5)})
        everything += tags
    assert set(everything) == {f"#{tag}" for tag in TAGS}
    assert sum(before != after for before, after in pairwise(tops)) > 90
    assert sum(bool(before & after) for before, after in pairwise(tops)) > 90


def test_a_users_mood_lasts_and_turns() -> None:
    made = list(islice(demo_posts(1), 200 * MOMENT))
    (busiest, _), *_ = Counter(post.user_id for post in made).most_common(1)
    moods = []
    for post in made:
        if post.user_id == busiest:
            moods.append(
                ("love" in post.text or "great" in post.text) - ("hate" in post.text or "awful" in post.text)
            )
    assert {1, -1} <= set(moods)
    told = [mood for mood in moods if mood]
    turns = sum(before != after for before, after in pairwise(told))
    assert turns < len(told) / 4


HEADER = "created_at,emojis,id,link,retweeted,screen_name,text\n"


def _rows(tmp_path: Path, content: bytes) -> list[Post | Rejection]:
    path = tmp_path / "tweets.csv"
    path.write_bytes(content)
    return list(read_tweets(path))


def test_a_tweet_is_a_post(tmp_path: Path) -> None:
    row = (
        '2017-08-27 00:05:34,True,901656910939770881,https://x,False,aaLiysr,"two\nlines, ""#One"" #ONE 😃"\n'
    )
    (post,) = _rows(tmp_path, (HEADER + row).encode())
    assert post == Post(
        "tweets",
        "901656910939770881",
        "aaLiysr",
        1_503_792_334_000,
        'two\nlines, "#One" #ONE 😃',
        ("#one", "#one"),
    )
    assert _rows(tmp_path, b"\xef\xbb\xbf" + (HEADER + row).encode()) == [post]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (b"2017-08-27 00:05:34,True,1,x,False\n", "missing_field"),
        (b"2017-08-27 00:05:34,True,,x,False,me,text\n", "missing_field"),
        (b"2017-08-27 00:05:34,True,1,x,False, ,text\n", "missing_field"),
        (b"2017-13-27 00:05:34,True,1,x,False,me,text\n", "bad_time"),
        (b"0001-01-01 00:00:00,True,1,x,False,me,text\n", "bad_time"),
    ],
)
def test_a_bad_row_is_rejected_with_its_bytes_and_the_next_one_read(
    tmp_path: Path, row: bytes, reason: str
) -> None:
    good = b"2017-08-27 00:05:34,True,1,x,False,me,\xff #b\n"
    rejection, post = _rows(tmp_path, HEADER.encode() + row + b"\n" + good)
    assert isinstance(rejection, Rejection)
    assert (rejection.reason, rejection.body) == (reason, row.rstrip(b"\n"))
    assert isinstance(post, Post)
    assert (post.text, post.tags) == ("\ufffd #b", ("#b",))


@pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n", b"created_at,id,text\n"])
def test_a_file_that_is_no_csv_of_tweets_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(RecordedError, match=r"tweets\.csv:1: the header has no column .*'screen_name'"):
        _rows(tmp_path, content)
