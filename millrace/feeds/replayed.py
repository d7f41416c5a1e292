"""How far a file has been replayed: every message says in a header which record of which file it is.

So a replay that was killed goes on with the next record, as Kafka itself knows which was the last.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from confluent_kafka import Message

from millrace.feeds.compressed import RecordedError
from millrace.feeds.context import FeedContext
from millrace.feeds.kafka_tail import last_of_each_partition
from millrace.feeds.sink import Headers

HEADER = "replay"
"""`<fingerprint of the file>:<record, from 1>`."""


def replay_header(mark: str, number: int) -> Headers:
    """The headers of a message that is record `number`, from 1, of the file with this fingerprint."""
    return [(HEADER, f"{mark}:{number}".encode("ascii"))]


def fingerprint(path: Path) -> str:
    """Tells files apart by their size and their first 64 kB, wherever they lie. Raises RecordedError."""
    try:
        with path.open("rb") as file:
            digest = hashlib.sha256(file.read(65_536))
        size = path.stat().st_size
    except OSError as error:
        raise RecordedError(f"{path} cannot be read: {error.strerror}") from None
    digest.update(str(size).encode())
    return digest.hexdigest()[:16]


def last_sent(context: FeedContext, mark: str) -> int:
    """The number of the newest record of this file in the topic; 0 when there is none."""
    prefix = f"{mark}:".encode()

    def wanted(message: Message) -> bool:
        return any(name == HEADER and value.startswith(prefix) for name, value in message.headers() or ())

    def read(message: Message) -> int | None:
        numbers = [value[len(prefix) :] for name, value in message.headers() if name == HEADER]
        return int(numbers[0]) if numbers and numbers[0].isdigit() else None

    found = last_of_each_partition(
        context.bootstrap, context.topic, "the replayed file", wanted=wanted, read=read
    )
    return max(found, default=0)
