"""The URL with which a Jetstream server is asked for posts."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode, urlsplit

from millrace.feeds.jetstream.events import COLLECTION

SUBPROTOCOL = "xrpc.v1.json"
MAX_EVENT = 1_000_000
"""Bytes; a post has some thousand. The server is asked to skip greater ones: one that the feed itself refused would end
the connection, and come again with the next."""
_VERSION_2 = "network.bsky.jetstream.subscribeEvents"


def is_version_2(server: str) -> bool:
    return urlsplit(server).path.rstrip("/").endswith(_VERSION_2)


def subscribe_url(server: str, cursor: int | None) -> str:
    """The server's URL, what it says already kept, with the filter and where to begin.

    `cursor` in epoch microseconds UTC, None for what is new. Servers of version 2 number their events, each its own
    way, but take a time too (a cursor of 10^15 or more is one), and only a time means the same to all servers.
    """
    if is_version_2(server):
        wanted = [("kinds", "commit"), ("collections", COLLECTION)]
    else:
        wanted = [("wantedCollections", COLLECTION)]
    wanted.append(("maxMessageSizeBytes", str(MAX_EVENT)))
    if cursor is not None:
        wanted.append(("cursor", str(cursor)))
    parts = urlsplit(server)
    return parts._replace(query=urlencode(parse_qsl(parts.query) + wanted)).geturl()
