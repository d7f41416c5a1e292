"""Where a stream reads and where its results go, as the catalog and the command line write it.

Sources: `kafka://TOPIC`, `socket://HOST:PORT`, `files://DIRECTORY`, `rate://ROWS`. Sinks: `facts` (the hourly
dataset), `kafka://TOPIC`, `live` (the small JSON that a page shows), `console`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from pydantic import BeforeValidator, PlainSerializer

SourceKind = Literal["kafka", "socket", "files", "rate"]
SinkKind = Literal["facts", "kafka", "live", "console"]

_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
_SOCKET = re.compile(r"(?P<host>[^:/\s]+|\[[0-9a-fA-F:]+\]):(?P<port>\d{1,5})")
_SOURCE_FORMS = "kafka://TOPIC, socket://HOST:PORT, files://DIRECTORY or rate://ROWS"
_SINK_FORMS = "facts, kafka://TOPIC, live or console"


@dataclass(frozen=True)
class Source:
    """Where records come from. Only Kafka and files can be read again after a crash; see `is_replayable`."""

    kind: SourceKind
    address: str

    def __str__(self) -> str:
        return f"{self.kind}://{self.address}"

    @property
    def is_replayable(self) -> bool:
        """Whether what was read and not committed can be read again. A socket's lines are gone."""
        return self.kind != "socket"

    @property
    def needs_its_checkpoint(self) -> bool:
        """Whether only Spark's own checkpoint knows what was read; for Kafka, a state's offsets do as well."""
        return self.kind in ("files", "rate")

    @property
    def host_and_port(self) -> tuple[str, int]:
        """Of a socket."""
        host, _, port = self.address.rpartition(":")
        return host.strip("[]"), int(port)


@dataclass(frozen=True)
class Sink:
    """Where results go; `address` is the topic of a Kafka sink, else empty."""

    kind: SinkKind
    address: str = ""

    def __str__(self) -> str:
        return f"{self.kind}://{self.address}" if self.address else self.kind


def parse_source(value: object) -> Source:
    """A source from its text. Raises ValueError that says which forms there are."""
    if isinstance(value, Source):
        return value
    kind, separator, address = str(value).strip().partition("://")
    if not separator or kind not in get_args(SourceKind) or not address:
        raise ValueError(f"{value!r} is not a source; write {_SOURCE_FORMS}")
    if kind == "kafka" and not _TOPIC.fullmatch(address):
        raise ValueError(f"{address!r} is not the name of a Kafka topic")
    if kind == "socket":
        found = _SOCKET.fullmatch(address)
        if found is None or not 0 < int(found["port"]) < 65536:
            raise ValueError(
                f"{value!r} is not a socket; write socket://HOST:PORT, such as socket://127.0.0.1:9999"
            )
    if kind == "rate" and not (address.isdecimal() and int(address) > 0):
        raise ValueError(f"{value!r} is not a rate; write rate://ROWS, the rows of each micro-batch")
    return Source(kind, address)  # type: ignore[arg-type]


def parse_sink(value: object) -> Sink:
    """A sink from its text. Raises ValueError that says which forms there are."""
    if isinstance(value, Sink):
        return value
    kind, separator, address = str(value).strip().partition("://")
    if kind == "kafka" and _TOPIC.fullmatch(address):
        return Sink("kafka", address)
    if not separator and kind in ("facts", "live", "console"):
        return Sink(kind)  # type: ignore[arg-type]
    raise ValueError(f"{value!r} is not a sink; write {_SINK_FORMS}")


SourceWord = Annotated[Source, BeforeValidator(parse_source), PlainSerializer(str)]
SinkWord = Annotated[Sink, BeforeValidator(parse_sink), PlainSerializer(str)]
