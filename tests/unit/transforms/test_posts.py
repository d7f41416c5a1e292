"""Parsing of posts: what is one, what each malformed one is told, and that none disturbs another."""

from __future__ import annotations

import json

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.feeds.posts.envelope import end_of_posts, post_message
from millrace.feeds.posts.model import Post
from spark_apps.transforms.posts import parse_posts
from tests.oracles.posts import parsed as parsed_plainly
from tests.post_records import GARBAGE, START, end, post

KEY, GOOD = post(START, tags=("#a", "#b", "#a"), text="hello #A #b #a")


def parsed(*pairs: tuple[bytes | None, bytes | None]):
    return parse_posts(
        pl.Series("value", [value for _, value in pairs], dtype=pl.Binary),
        pl.Series("key", [key for key, _ in pairs], dtype=pl.Binary),
        pl.Series("timestamp", [START + 5] * len(pairs), dtype=pl.Int64),
    )


def test_a_post_and_an_end_of_input():
    done = parsed((KEY, GOOD), end(START + 1, "tweets"))
    assert done.posts.rows() == [
        (0, "demo", "1", "ann", START, "hello #A #b #a", ["#a", "#b", "#a"], START + 5, False),
        (1, "tweets", None, None, START + 1, None, [], START + 5, True),
    ]
    assert done.rejected.is_empty()


def test_what_the_feeds_send_is_read():
    message = post_message(Post("jetstream", "at://did/1", "did:1", START, "é \ud83d", ("#é",)))
    done = parsed((b"did:1", message), (b"tweets", end_of_posts("tweets", START)))
    assert done.posts["text"].to_list() == ["é ?", None]


MALFORMED = {
    b"": "empty",
    b" \n": "empty",
    b"null": "not_a_post",
    b"[]": "not_a_post",
    b'"text"': "not_a_post",
    b"\xff": "not_json",
    b"{": "not_json",
    GOOD + GOOD: "not_json",
    b'{"kind":"post","x":' + b"[" * 100_000: "not_json",
    b"{}": "not_a_post",
    GOOD.replace(b'"kind": "post"', b'"kind": "poll"'): "not_a_post",
    GOOD.replace(b'"text": "hello #A #b #a", ', b""): "not_a_post",
    GOOD.replace(b'"hello #A #b #a"', b"7"): "bad_text",
    GOOD.replace(b'"schema": 1', b'"schema": 2'): "unknown_schema",
    GOOD.replace(b'"schema": 1', b'"schema": true'): "unknown_schema",
    GOOD.replace(b'"demo"', b'"elsewhere"'): "unknown_source",
    GOOD.replace(b'"1"', b'""'): "bad_id",
    GOOD.replace(b'"1"', b"1"): "bad_id",
    GOOD.replace(b'"ann"', b"null"): "bad_id",
    GOOD.replace(str(START).encode(), b"0"): "bad_time",
    GOOD.replace(str(START).encode(), b"1772405400.5"): "bad_time",
    GOOD.replace(str(START).encode(), b'"today"'): "bad_time",
    GOOD.replace(str(START).encode(), b"9" * 30): "bad_time",
    GOOD.replace(b'"#b"', b'"b"'): "bad_tags",
    GOOD.replace(b'"#b"', b"null"): "bad_tags",
    GOOD.replace(b'["#a", "#b", "#a"]', b'"#a"'): "bad_tags",
    GOOD.replace(b'"ann"', b'"bob"'): "key_mismatch",
}


@pytest.mark.parametrize(("value", "reason"), MALFORMED.items(), ids=range(len(MALFORMED)))
def test_a_malformed_one_is_told_and_its_neighbours_are_read(value: bytes, reason: str):
    done = parsed((KEY, GOOD), (KEY, value), (KEY, GOOD))
    assert done.posts["row"].to_list() == [0, 2]
    ((row, why, detail),) = done.rejected.iter_rows()
    assert (row, why) == (1, reason)
    assert detail


def test_more_fields_and_other_ways_to_write_json_do_no_harm():
    message = json.loads(GOOD) | {"likes": [1, {"by": None}]}
    done = parsed((KEY, json.dumps(message, indent=2).encode()), (KEY, b"\n " + GOOD + b"\r\n"))
    assert done.posts.height == 2


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.just((KEY, GOOD)),
            st.sampled_from(GARBAGE),
            st.tuples(st.just(KEY), st.binary(max_size=40)),
            st.tuples(
                st.just(KEY),
                st.builds(
                    lambda cut, new: GOOD[: cut[0]] + new + GOOD[cut[1] :],
                    st.tuples(st.integers(0, len(GOOD)), st.integers(0, len(GOOD))).map(sorted),
                    st.sampled_from([b"", b"{", b"}", b"null", b'"', b"1", b",", b"\n", b"\\u0000"]),
                ),
            ),
        ),
        max_size=8,
    )
)
def test_every_record_is_a_post_as_a_plain_reader_says_or_has_a_reason(pairs):
    done = parsed(*pairs)
    plainly = {row for row, (key, value) in enumerate(pairs) if parsed_plainly(key, value) is not None}
    assert set(done.posts["row"]) == plainly
    assert set(done.rejected["row"]) == set(range(len(pairs))) - plainly
