"""Frames of Jetstream servers: recorded ones of version 1, and of version 2 the shapes of its documentation."""

import json
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.feeds.jetstream.address import is_version_2, subscribe_url
from millrace.feeds.jetstream.events import Event, StreamError, parse_event
from millrace.feeds.jetstream.recent import Recent
from millrace.feeds.model import Unreadable
from tests.unit.feeds.shared_data import DIRECTORY, needs_shared_data

RECORDED = DIRECTORY / "bluesky_jetstream_v1_152events.jsonl"
RECORD = {
    "$type": "app.bsky.feed.post",
    "createdAt": "1999-01-01T00:00:00Z",
    "text": "Hi #One #two",
    "facets": [
        {
            "index": {"byteStart": 3, "byteEnd": 7},
            "features": [{"$type": "app.bsky.richtext.facet#tag", "tag": "One"}],
        }
    ],
}
TIME_US = 1_725_911_162_329_308


def version_1(**changes: Any) -> dict[str, Any]:
    commit = {
        "rev": "r",
        "operation": "create",
        "collection": "app.bsky.feed.post",
        "rkey": "k",
        "record": RECORD,
    }
    event = {"did": "did:plc:eygm", "time_us": TIME_US, "kind": "commit", "commit": commit}
    for key, value in changes.items():
        (event if key in ("did", "time_us", "kind", "commit") else commit)[key] = value
    return event


def version_2(kind: str = "commit", **changes: Any) -> dict[str, Any]:
    payload = {
        "$type": f"network.bsky.jetstream.subscribeEvents#{kind}",
        "seq": 12345,
        "did": "did:plc:eygm",
        "time": "2024-09-09T19:46:02.329308Z",
        **{
            "rev": "r",
            "operation": "create",
            "collection": "app.bsky.feed.post",
            "rkey": "k",
            "record": RECORD,
        },
        **changes,
    }
    return {"$type": "message", "payload": payload}


@pytest.mark.parametrize("event", [version_1(), version_2()])
def test_a_post_is_dated_by_the_server_and_has_its_tags(event: dict[str, Any]) -> None:
    parsed = parse_event(json.dumps(event))
    assert (parsed.what, parsed.time_us) == ("post", TIME_US)
    assert parsed.post is not None
    assert parsed.post._asdict() == {
        "source": "jetstream",
        "post_id": "at://did:plc:eygm/app.bsky.feed.post/k",
        "user_id": "did:plc:eygm",
        "posted_at": TIME_US // 1000,
        "text": "Hi #One #two",
        "tags": ("#one", "#two"),
    }


@pytest.mark.parametrize(
    ("event", "what"),
    [
        (version_1(operation="delete", record=None), "post delete"),
        (version_1(operation="update"), "post update"),
        (version_1(collection="app.bsky.feed.like"), "other collection"),
        (version_1(kind="identity", commit=None), "identity"),
        (version_1(kind="account", commit=None), "account"),
        (version_2(operation="delete", record=None), "post delete"),
        (version_2(collection="app.bsky.graph.follow"), "other collection"),
        (
            version_2("identity", identity={"did": "did:plc:eygm", "seq": 7, "time": "2024-01-01T00:00:00Z"}),
            "identity",
        ),
        (version_2("account", account={"active": False, "status": "deleted"}), "account"),
        (version_2("sync", sync={"rev": "r"}), "sync"),
    ],
)
def test_what_is_no_new_post_is_passed_over_but_moves_the_cursor(event: dict[str, Any], what: str) -> None:
    assert parse_event(json.dumps(event)) == Event(what, TIME_US)


def test_what_a_server_says_about_the_stream_itself() -> None:
    info = {
        "$type": "network.bsky.jetstream.subscribeEvents#info",
        "name": "OutdatedCursor",
        "message": "from 7",
    }
    assert parse_event(json.dumps({"$type": "message", "payload": info})) == Event(
        "info OutdatedCursor", None
    )
    with pytest.raises(StreamError, match="ConsumerTooSlow: reads too slowly"):
        parse_event('{"$type":"error","error":"ConsumerTooSlow","message":"reads too slowly"}')


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        ("", "not_json"),
        (b"\x28\xb5\x2f\xfd\x00", "not_json"),
        ("[]", "missing_field"),
        ("{}", "missing_field"),
        ('{"$type":"message"}', "missing_field"),
        ('{"$type":"message","payload":{"seq":1}}', "missing_field"),
        (version_1(time_us="1725911162329308"), "bad_time"),
        (version_1(time_us=10**19), "bad_time"),
        (version_1(time_us=True), "bad_time"),
        (version_1(commit=None), "missing_field"),
        (version_1(record=None), "missing_field"),
        (version_1(record={"text": None}), "missing_field"),
        (version_1(did=""), "missing_field"),
        (version_1(rkey=None), "missing_field"),
        (version_1(did="x" * 300), "bad_id"),
        (version_2(time="2024-09-09T19:46:02"), "bad_time"),
        (version_2(time="yesterday"), "bad_time"),
        (version_2(time="0001-01-01T00:00:00+14:00"), "bad_time"),
        (version_2(record=7), "missing_field"),
    ],
)
def test_what_cannot_be_read_has_its_reason(frame: Any, reason: str) -> None:
    with pytest.raises(Unreadable) as caught:
        parse_event(json.dumps(frame) if isinstance(frame, dict) else frame)
    assert caught.value.reason == reason


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda x: st.lists(x, max_size=2)
)


@given(st.sampled_from([version_1, version_2]), st.dictionaries(
    st.sampled_from(["did", "time_us", "time", "kind", "commit", "operation", "collection", "rkey", "record", "$type"]),
    JSON, max_size=3,
))  # fmt: skip
def test_no_frame_however_broken_ends_the_feed(make: Any, changes: dict[str, Any]) -> None:
    with suppress(Unreadable):
        parse_event(json.dumps(make(**changes)))


@needs_shared_data
def test_the_recorded_events_are_17_posts_with_4_marked_tags() -> None:
    lines = RECORDED.read_bytes().splitlines()
    events = [parse_event(line) for line in lines]
    assert len(events) == 152
    posts = [event.post for event in events if event.post is not None]
    assert len(posts) == 17
    records = [json.loads(line).get("commit", {}).get("record") or {} for line in lines]
    marked = [
        f"#{feature['tag'].lower()}"
        for record in records
        for facet in record.get("facets", [])
        for feature in facet["features"]
        if feature["$type"] == "app.bsky.richtext.facet#tag"
    ]
    assert len(marked) == 4
    assert [tag for post in posts for tag in post.tags] == marked, "and every tag in a text is marked"


def test_a_server_is_asked_in_its_own_words() -> None:
    one = urlsplit(subscribe_url("wss://host/subscribe", 5_000_000_000_000_000))
    assert (one.scheme, one.netloc, one.path) == ("wss", "host", "/subscribe")
    assert parse_qs(one.query) == {
        "wantedCollections": ["app.bsky.feed.post"],
        "maxMessageSizeBytes": ["1000000"],
        "cursor": ["5000000000000000"],
    }
    server = "ws://host:6/xrpc/network.bsky.jetstream.subscribeEvents?dids=did:plc:a"
    assert is_version_2(server)
    assert parse_qs(urlsplit(subscribe_url(server, None)).query) == {
        "dids": ["did:plc:a"],
        "kinds": ["commit"],
        "collections": ["app.bsky.feed.post"],
        "maxMessageSizeBytes": ["1000000"],
    }


def test_the_cursor_is_a_little_before_the_newest_event_unless_that_is_too_old() -> None:
    recent = Recent()
    assert recent.cursor(100, rewind=5, catch_up=60) is None
    recent.saw(100_000_000)
    recent.saw(90_000_000)
    assert recent.cursor(101, rewind=5, catch_up=60) == 95_000_000
    assert recent.cursor(160, rewind=0, catch_up=60) == 100_000_000
    assert recent.cursor(161, rewind=5, catch_up=60) is None


def test_a_post_is_new_once() -> None:
    recent = Recent()
    assert [recent.is_new(post_id) for post_id in "abab"] == [True, True, False, False]
