"""What may stand under `options` of a bridge from a socket in `catalog/feeds.yaml`."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from millrace.feeds.option_types import FeedOptions

_ADDRESS = re.compile(r"(?:socket://)?(?:\[([0-9A-Fa-f:.]+)\]|([^\s:/\[\]]+)):(\d{1,5})")


def parse_address(text: str) -> tuple[str, int]:
    """Host and port of `localhost:9999`, `[::1]:9999` or `socket://localhost:9999`. Raises ValueError."""
    match = _ADDRESS.fullmatch(text.strip())
    if match is None or not 0 < int(match[3]) < 65536:
        raise ValueError("it is not an address such as localhost:9999")
    return match[1] or match[2], int(match[3])


def _address(value: str) -> str:
    parse_address(value)
    return value


class SocketOptions(FeedOptions):
    """`socket`: connects to a TCP server and sends each line that it gives."""

    address: Annotated[str, AfterValidator(_address)] = "localhost:9999"
    form: Literal["line", "post"] = "line"
    """A `line` is sent as it is, for topic `lines`; a `post` is dated and gets its tags, for topic `posts`."""
    user_id: str = Field(default="socket", min_length=1, max_length=256)
    """Whose the posts are."""
