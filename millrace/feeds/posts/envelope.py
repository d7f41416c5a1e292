"""The messages of topic `posts`: a JSON object each, keyed by the user.

`posts.schema.json` is the contract with everything that reads the topic; tests hold what is made here to it.
"""

from __future__ import annotations

import json

from millrace.feeds.posts.model import Post, Source
from millrace.feeds.sink import Headers, KafkaSink

SCHEMA_VERSION = 1


def post_message(post: Post) -> bytes:
    """The message for a post. Half surrogate pairs, which UTF-8 cannot carry, become `?`."""
    return _encoded({"schema": SCHEMA_VERSION, "kind": "post", **post._asdict()})


def end_of_posts(source: Source, posted_at: int) -> bytes:
    """The message that says that nothing more comes from a source; `posted_at` of its newest post, epoch
    milliseconds UTC."""
    return _encoded(
        {"schema": SCHEMA_VERSION, "kind": "end_of_input", "source": source, "posted_at": posted_at}
    )


def send_post(sink: KafkaSink, post: Post, headers: Headers = ()) -> None:
    """Hand a post over to Kafka. Raises DeliveryError when an earlier message failed."""
    sink.send(post_message(post), post.user_id.encode("utf-8", "replace"), headers=headers)


def send_end_of_posts(sink: KafkaSink, source: Source, posted_at: int, headers: Headers = ()) -> None:
    """Say that nothing more comes from a source; `posted_at` as in `end_of_posts`."""
    sink.send(end_of_posts(source, posted_at), source.encode("ascii"), headers=headers)


def _encoded(message: dict[str, object]) -> bytes:
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
