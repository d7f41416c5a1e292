"""Reading values that others wrote: tolerant of the forms that are common, exact about what they mean."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from millrace.feeds.model import Unreadable

MAX_COUNT = 2**31 - 1
MAX_ID_LENGTH = 256
LATEST = 4_102_444_800
"""2100-01-01 UTC. A greater number is not epoch seconds: usually it is milliseconds."""


def load_json(body: bytes | str) -> Any:
    """The JSON value of a reply. Raises Unreadable('not_json') for anything else, however broken."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        start = body[:60].decode("utf-8", "replace") if isinstance(body, bytes) else body[:60]
        raise Unreadable("not_json", f"{error} in a body that begins {start!r}") from None


def epoch_seconds(value: object, what: str) -> int:
    """A time as whole epoch seconds UTC: from a number, a number as text, or ISO 8601 with an offset.

    Raises Unreadable naming `what`.
    """
    seconds: float | None = None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        seconds = float(value) if abs(value) < 1e18 else None
    elif isinstance(value, str) and value.strip().isascii():
        text = value.strip()
        if text.isdigit() and len(text) < 18:
            seconds = float(text)
        else:
            try:
                moment = datetime.fromisoformat(text.upper())  # RFC 3339 allows t and z
            except ValueError:
                pass
            else:
                if moment.tzinfo is None:
                    raise Unreadable("bad_time", f"{what} {value!r} has no offset from UTC")
                # Subtraction, because timestamp() of years near 1 or 9999 overflows in some offsets.
                seconds = (moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()
    if seconds is None or not 0 < seconds < LATEST:
        raise Unreadable("bad_time", f"{what} is {_shown(value)}, not a time in epoch seconds or ISO 8601")
    return int(seconds)


def count(value: object) -> int | None:
    """A count of things: a whole number from 0 to 2^31 - 1, also as text; None for everything else."""
    if type(value) is int:  # nearly always; a recorded year is a hundred million of them
        return value if 0 <= value <= MAX_COUNT else None
    if isinstance(value, str):
        text = value.strip()
        if not (text.isascii() and text.isdigit() and len(text) <= 10):
            return None
        return count(int(text))
    if isinstance(value, float) and value.is_integer():
        return count(int(value))
    return None


def flag(value: object) -> bool | None:
    """True or false: as JSON's booleans (GBFS 2 and 3) or as 1 and 0 (GBFS 1); None for everything else."""
    if value is True or value is False:
        return value
    if type(value) is int and value in (0, 1):
        return value == 1
    return None


def identifier(value: object, what: str) -> str:
    """An id: text or a whole number, 1 to 256 characters that UTF-8 can carry. Raises Unreadable."""
    if type(value) is int and abs(value) < 10**18:
        return str(value)
    if not isinstance(value, str) or not value.strip():
        raise Unreadable("missing_field", f"{what} is missing or empty")
    if len(value) > MAX_ID_LENGTH:
        raise Unreadable("bad_id", f"{what} is longer than {MAX_ID_LENGTH} characters")
    if value.isascii():
        return value
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise Unreadable("bad_id", f"{what} {value!r} is not valid Unicode") from None
    return value


def is_http_url(text: str) -> bool:
    """Whether it is an absolute URL that can be asked over HTTP."""
    try:
        parts = urlsplit(text)
        # `port` is read only to be checked: of a wrong one it raises ValueError, here and wherever else it is read.
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
