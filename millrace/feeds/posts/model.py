"""What a feed of posts reads, wherever it came from."""

from __future__ import annotations

from typing import Literal, NamedTuple

Source = Literal["jetstream", "tweets", "socket", "demo"]


class Post(NamedTuple):
    """One post. `posted_at` is epoch milliseconds UTC; `tags` are lower-cased, with their `#`, in the order in
    which they appear, with repeats."""

    source: Source
    post_id: str
    user_id: str
    posted_at: int
    text: str
    tags: tuple[str, ...]
