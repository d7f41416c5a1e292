"""Posts judged and counted by plain Python, one at a time: what the transforms of posts must agree with."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

Record = tuple[bytes | None, bytes | None, int]
"""Key, value, arrival in epoch milliseconds."""
SOURCES = ("jetstream", "tweets", "socket", "demo")


@dataclass
class Accepted:
    """A post that counts."""

    number: int
    source: str
    user: str
    at: int
    text: str
    tags: list[str]


@dataclass
class Posts:
    """Everything that counts, in order, and why the rest does not."""

    late_by: int
    newest: dict[str, int] = field(default_factory=dict)
    said: dict[tuple[str, str, int], tuple[str, str, list[str]]] = field(default_factory=dict)
    accepted: list[Accepted] = field(default_factory=list)
    rejected: list[tuple[int, str]] = field(default_factory=list)
    records: int = 0

    @property
    def newest_at(self) -> int | None:
        return max(self.newest.values(), default=None)

    def add(self, key: bytes | None, value: bytes | None, arrived: int) -> None:
        number, self.records = self.records, self.records + 1
        message = parsed(key, value)
        if message is None:
            self.rejected.append((number, "malformed"))
            return
        if message["kind"] == "end_of_input":
            return
        source, at = message["source"], message["posted_at"]
        if at > arrived + 300_000:
            self.rejected.append((number, "future"))
            return
        if at < self.newest.get(source, at) - self.late_by * 1000:
            self.rejected.append((number, "too_late"))
            return
        self.newest[source] = max(at, self.newest.get(source, at))
        said = (message["user_id"], message["text"], message["tags"])
        name = (source, message["post_id"], at)
        if name in self.said:
            if self.said[name] != said:
                self.rejected.append((number, "conflicting_id"))
            return
        self.said[name] = said
        self.accepted.append(
            Accepted(number, source, message["user_id"], at, message["text"], message["tags"])
        )


def posts_of(records: Iterable[Record], *, late_by: int) -> Posts:
    """All records, in order."""
    posts = Posts(late_by)
    for record in records:
        posts.add(*record)
    return posts


def tags_by_hour(posts: Posts) -> dict[tuple[str, str, int], tuple[int, int]]:
    """(source, tag, hour since the epoch) to (posts that contain it, occurrences)."""
    counted: dict[tuple[str, str, int], list[int]] = defaultdict(lambda: [0, 0])
    for post in posts.accepted:
        for tag, uses in Counter(post.tags).items():
            row = counted[post.source, tag, post.at // 3_600_000]
            row[0] += 1
            row[1] += uses
    return {key: (posts, uses) for key, (posts, uses) in counted.items()}


def top_tags(posts: Posts, *, end: int, window: int, at_most: int = 10) -> list[tuple[str, int]]:
    """The tags of [end - window, end), in epoch milliseconds: most used first, then in order of tag."""
    uses: Counter[str] = Counter()
    for post in posts.accepted:
        if end - window <= post.at < end:
            uses.update(post.tags)
    return sorted(uses.items(), key=lambda item: (-item[1], item[0]))[:at_most]


def parsed(key: bytes | None, value: bytes | None) -> dict[str, Any] | None:
    """A message that is as docs/schemas.md has it; None for anything else."""
    try:
        message = json.loads((value or b"").decode())
        if not isinstance(message, dict) or type(message["schema"]) is not int or message["schema"] != 1:
            return None
        texts = [message["source"]]
        owner = message["source"]
        if message["kind"] == "post":
            texts += [message["post_id"], message["user_id"]]
            owner = message["user_id"]
            if not isinstance(message["text"], str) or not isinstance(message["tags"], list):
                return None
            if not all(isinstance(tag, str) and re.match("#[^#]", tag) for tag in message["tags"]):
                return None
        elif message["kind"] != "end_of_input":
            return None
        if not all(isinstance(text, str) and text for text in texts) or message["source"] not in SOURCES:
            return None
        if type(message["posted_at"]) is not int or not 0 < message["posted_at"] <= 4_102_444_799_999:
            return None
        json.dumps(message, ensure_ascii=False).encode()  # half a surrogate pair is no text
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return message if key == owner.encode() else None
