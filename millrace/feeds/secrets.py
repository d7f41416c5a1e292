"""Keeping a secret out of everything that is printed.

httpx logs every URL at INFO, and its exceptions carry the request. The Seoul API wants its key in the path of
the URL, so it is hidden at the root: in every log record of every logger, before any handler sees it.
"""

from __future__ import annotations

import logging
import traceback
from typing import Any

HIDDEN = "***"
_secrets: set[str] = set()


def redact(text: str) -> str:
    """The text with every known secret replaced."""
    for secret in _secrets:
        text = text.replace(secret, HIDDEN)
    return text


def redact_bytes(body: bytes) -> bytes:
    """The same for bytes, such as a reply that quotes the request, in any encoding that JSON may come in."""
    for secret in _secrets:
        for encoding in ("utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"):
            body = body.replace(secret.encode(encoding), HIDDEN.encode(encoding))
    return body


def keep_secret(secret: str) -> None:
    """From now on this text appears in no log record of this process, nor in `redact`ed text."""
    if not _secrets:
        logging.setLogRecordFactory(_factory(logging.getLogRecordFactory()))
    _secrets.add(secret)


def _factory(make: Any) -> Any:
    def record(*args: Any, **kwargs: Any) -> logging.LogRecord:
        made: logging.LogRecord = make(*args, **kwargs)
        try:
            message = made.getMessage()
        except (TypeError, ValueError, KeyError):
            # Its arguments do not fit. logging complains when it prints such a record; making it must not fail.
            message = f"{made.msg} {made.args}"
        hidden = redact(message)
        if hidden != message:
            made.msg, made.args = hidden, ()
        if made.exc_info and made.exc_info[0] is not None:
            # Formatters print exc_text when it is there, instead of formatting the exception themselves.
            text = "".join(traceback.format_exception(*made.exc_info)).rstrip("\n")
            if redact(text) != text:
                made.exc_text = redact(text)
        return made

    return record
