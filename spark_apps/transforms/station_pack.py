"""A station state as bytes and back: what is stored per bucket and micro-batch."""

from __future__ import annotations

import io
import json
import struct

import polars as pl

from spark_apps.transforms.frame_pack import StateSchemaError, to_ipc
from spark_apps.transforms.observation_log import Chunk
from spark_apps.transforms.stations import SYSTEMS, TOTALS, StationState

STATE_SCHEMA = 1
_LENGTHS = struct.Struct("<III")


def pack(state: StationState) -> bytes:
    """The state as bytes; equal states give equal bytes."""
    header = {
        "schema": STATE_SCHEMA,
        "chunks": [[chunk.rows, len(chunk.body), dict(chunk.last_seen)] for chunk in state.log],
    }
    parts = [json.dumps(header, separators=(",", ":")).encode(), to_ipc(state.systems), to_ipc(state.totals)]
    return b"".join([_LENGTHS.pack(*map(len, parts)), *parts, *(chunk.body for chunk in state.log)])


def unpack(body: bytes) -> StationState:
    """The inverse of `pack`. Raises StateSchemaError for a state that this version cannot know."""
    parts: list[memoryview] = []
    view, at = memoryview(body), _LENGTHS.size
    try:
        for length in _LENGTHS.unpack_from(body):
            parts.append(view[at : at + length])
            at += length
        header = json.loads(bytes(parts[0]))
        schema, packed = header["schema"], header["chunks"]
    except (struct.error, ValueError, TypeError, KeyError):
        raise StateSchemaError(
            "this is no state of stations: the stream was another app's before, or a newer version wrote it in another "
            "form; run that one, or reset the stream to rebuild its state from Kafka"
        ) from None
    if schema > STATE_SCHEMA:
        raise StateSchemaError(
            f"the station state was written with schema {schema}, this version reads up to "
            f"{STATE_SCHEMA}: run the newer version, or reset the stream to rebuild its state from Kafka"
        )
    chunks = []
    for rows, length, last_seen in packed:
        chunks.append(Chunk(rows=rows, last_seen=last_seen, body=bytes(view[at : at + length])))
        at += length
    return StationState(
        systems=pl.read_ipc(io.BytesIO(parts[1])).select(list(SYSTEMS)),
        totals=pl.read_ipc(io.BytesIO(parts[2])).select(list(TOTALS)),
        log=tuple(chunks),
    )
