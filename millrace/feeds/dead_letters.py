"""The messages of topic `dead_letters`: what could not be read, whole, with the reason."""

from __future__ import annotations

import base64
import hashlib
import json

from millrace.feeds.model import Rejection

SCHEMA_VERSION = 1
_MAX_DETAIL = 1000


def dead_letter(
    feed: str, system_id: str | None, rejection: Rejection, fetched_at: int, *, max_bytes: int
) -> bytes:
    """The message for a rejection, at most `max_bytes` long.

    The body is whole unless that would exceed the limit; then its beginning is kept and `body_bytes` says how
    long it was. `fetched_at` in epoch seconds UTC.
    """
    # `replace`: a detail quotes what came, and that may hold half a surrogate pair, which UTF-8 cannot carry.
    letter: dict[str, object] = {
        "schema": SCHEMA_VERSION,
        "feed": feed,
        "system_id": system_id,
        "reason": rejection.reason,
        "detail": rejection.detail[:_MAX_DETAIL].encode("utf-8", "replace").decode("utf-8"),
        "fetched_at": fetched_at,
        "body_base64": "",
    }
    body = rejection.body
    room = (max_bytes - len(_encoded({**letter, "body_bytes": len(body)}))) // 4 * 3
    if len(body) > room:
        letter["body_bytes"] = len(body)
        body = body[: max(0, room)]
    letter["body_base64"] = base64.b64encode(body).decode("ascii")
    return _encoded(letter)


def _encoded(letter: dict[str, object]) -> bytes:
    return json.dumps(letter, separators=(",", ":")).encode("ascii")


class Repeats:
    """Tells a new unreadable reply from the same one again, so that a broken source fetched every 30 s does
    not fill the topic with copies of one error page.

    Remembers the last reply per place it came from; something readable in between forgets it.
    """

    def __init__(self) -> None:
        self._last: dict[str, tuple[bytes, int]] = {}

    def times(self, source: str, rejection: Rejection) -> int:
        """How often in a row this very reply has now come from this source: 1 for a new one."""
        digest = hashlib.sha256(rejection.reason.encode() + b"\0" + rejection.body).digest()
        last, times = self._last.get(source, (b"", 0))
        times = times + 1 if digest == last else 1
        self._last[source] = (digest, times)
        return times

    def forget(self, source: str) -> None:
        self._last.pop(source, None)
