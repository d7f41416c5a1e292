"""What may stand under `options` of a feed of Bluesky's posts in `catalog/feeds.yaml`."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from millrace.catalog import Duration
from millrace.feeds.option_types import FeedOptions, at_least

PUBLIC_SERVERS = (
    "wss://jetstream2.us-east.bsky.network/subscribe",
    "wss://jetstream1.us-west.bsky.network/subscribe",
    "wss://jetstream1.us-east.bsky.network/subscribe",
    "wss://jetstream2.us-west.bsky.network/subscribe",
)


def _websocket_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        host = parts.hostname if parts.port != 0 else None
    except ValueError:
        host = None
    if host is None or parts.scheme not in ("ws", "wss") or parts.username or parts.password:
        raise ValueError(f"it is not a URL such as {PUBLIC_SERVERS[0]}")
    return value


class JetstreamOptions(FeedOptions):
    """`jetstream`: every new post on Bluesky. Nobody asks for a key."""

    servers: list[Annotated[str, AfterValidator(_websocket_url)]] = Field(
        default=list(PUBLIC_SERVERS), min_length=1
    )
    """Version 1 (`…/subscribe`) or 2 (`…/xrpc/network.bsky.jetstream.subscribeEvents`), told apart by the path; when
    one fails, the next is asked."""
    rewind: Annotated[Duration, at_least(timedelta(0))] = timedelta(seconds=5)
    """How far before the last event it begins again, because servers do not see events in quite the same order."""
    catch_up: Annotated[Duration, at_least(timedelta(0))] = timedelta(hours=24)
    """The longest gap that is filled, if the server still has it; after a longer one it goes on with what is new."""
    quiet: Annotated[Duration, at_least(timedelta(milliseconds=100))] = timedelta(seconds=60)
    """A server that says nothing at all for so long is taken for stuck: Bluesky has dozens of posts a second."""
