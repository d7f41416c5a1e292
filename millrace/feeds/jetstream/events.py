"""One frame of a Jetstream server, version 1 or 2, as an event: a post, or what it was instead.

Version 1 is `{"did", "time_us", "kind", "commit": {…}}`. Version 2 is `{"$type": "message", "payload": {…}}`, where the
payload's `$type` ends with `#commit` or another kind, and the fields of the commit stand beside `did` and `time`. Both
are described in the documentation of bluesky-social/jetstream.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from millrace.feeds.model import Unreadable
from millrace.feeds.posts.model import Post
from millrace.feeds.posts.tags import facet_tags
from millrace.feeds.reading import LATEST, identifier, load_json

COLLECTION = "app.bsky.feed.post"


@dataclass(frozen=True, slots=True)
class Event:
    """`what` is `post`, or a few words for what else it was; `time_us` when the server saw it, epoch microseconds UTC,
    None for what is said about the stream itself."""

    what: str
    time_us: int | None
    post: Post | None = None


class StreamError(Exception):
    """The server ends the stream and says why."""


def parse_event(frame: str | bytes) -> Event:
    """Read a frame. Raises Unreadable for what cannot be read, StreamError for the server's own error."""
    message = load_json(frame)
    if not isinstance(message, dict):
        raise Unreadable("missing_field", "the frame is not an object")
    kind_of_frame = message.get("$type")
    if kind_of_frame == "error":
        raise StreamError(f"{message.get('error')}: {message.get('message', '')}".rstrip(": ")[:500])
    if kind_of_frame == "message":
        return _version_2(message.get("payload"))
    return _version_1(message)


def _version_1(event: dict[str, Any]) -> Event:
    kind = event.get("kind")
    if not isinstance(kind, str):
        raise Unreadable("missing_field", "the frame has neither `kind` nor `payload`")
    time_us = event.get("time_us")
    if type(time_us) is not int or not 0 < time_us < LATEST * 1_000_000:
        raise Unreadable("bad_time", f"time_us is {str(time_us)[:40]!r}, not epoch microseconds")
    return _event(kind, time_us, event, event.get("commit"))


def _version_2(payload: object) -> Event:
    if not isinstance(payload, dict) or not isinstance(payload.get("$type"), str):
        raise Unreadable("missing_field", "the message has no `payload` with a `$type`")
    kind = payload["$type"].rpartition("#")[2]
    if kind == "info":
        return Event(f"info {str(payload.get('name'))[:40]}", None)
    return _event(kind, _microseconds(payload.get("time")), payload, payload)


def _microseconds(text: object) -> int:
    try:
        moment = datetime.fromisoformat(str(text))
        since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    except (ValueError, TypeError):  # TypeError: no offset from UTC
        raise Unreadable(
            "bad_time", f"time is {str(text)[:40]!r}, not a time with its offset from UTC"
        ) from None
    if not 0 < since.total_seconds() < LATEST:
        raise Unreadable("bad_time", f"time is {str(text)[:40]!r}")
    return since.days * 86_400_000_000 + since.seconds * 1_000_000 + since.microseconds


def _event(kind: str, time_us: int, event: dict[str, Any], commit: object) -> Event:
    if kind != "commit":
        return Event(kind[:40], time_us)
    if not isinstance(commit, dict):
        raise Unreadable("missing_field", "the event is a commit without `commit`")
    if commit.get("collection") != COLLECTION:
        return Event("other collection", time_us)
    operation = commit.get("operation")
    if operation != "create":
        return Event(f"post {str(operation)[:20]}", time_us)
    return Event("post", time_us, _post(event, commit, time_us))


def _post(event: dict[str, Any], commit: dict[str, Any], time_us: int) -> Post:
    record = commit.get("record")
    if not isinstance(record, dict) or not isinstance(record.get("text"), str):
        raise Unreadable("missing_field", "the post has no `record` with a `text`")
    did, rkey = identifier(event.get("did"), "did"), identifier(commit.get("rkey"), "rkey")
    return Post(
        source="jetstream",
        post_id=f"at://{did}/{COLLECTION}/{rkey}",
        user_id=did,
        posted_at=time_us // 1000,
        text=record["text"],
        tags=facet_tags(record["text"], record.get("facets")),
    )
