"""A state made of frames as bytes and back: what is stored per bucket and micro-batch."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Mapping
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.ipc

_LENGTH = struct.Struct("<I")
Schema = Mapping[str, Any]


class StateSchemaError(ValueError):
    """The state was written by a newer version of the transform, or by another transform."""


def pack_frames(name: str, schema: int, frames: Mapping[str, pl.DataFrame]) -> bytes:
    """Frames as bytes; equal frames give equal bytes. `schema` counts the changes of their form."""
    bodies = {key: to_ipc(frame) for key, frame in frames.items()}
    header = json.dumps(
        {"state": name, "schema": schema, "frames": {key: len(body) for key, body in bodies.items()}},
        separators=(",", ":"),
    ).encode()
    return b"".join([_LENGTH.pack(len(header)), header, *bodies.values()])


def unpack_frames(
    body: bytes, name: str, schema: int, columns: Mapping[str, Schema]
) -> dict[str, pl.DataFrame]:
    """The inverse, with the named columns of each frame. Raises StateSchemaError, in words."""
    (length,) = _LENGTH.unpack_from(body)
    at = _LENGTH.size + length
    header = json.loads(body[_LENGTH.size : at])
    if header["state"] != name:
        raise StateSchemaError(
            f"this is the state of {header['state']!r}, not of {name!r}: the stream was another app's before; reset it"
        )
    if header["schema"] > schema:
        raise StateSchemaError(
            f"the state was written with schema {header['schema']}, this version reads up to {schema}: run the newer "
            "version, or reset the stream to rebuild its state from Kafka"
        )
    frames = {}
    view = memoryview(body)
    for key, size in header["frames"].items():
        frames[key] = pl.read_ipc(io.BytesIO(view[at : at + size]))
        at += size
    return {key: frames[key].select(list(wanted)) for key, wanted in columns.items()}


def to_ipc(frame: pl.DataFrame) -> bytes:
    """A frame as an Arrow file. Written by pyarrow, because polars' bytes tell how a column was computed (a
    validity mask without a null in it), and a retry must write the same ones.
    """
    table = frame.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())
    body = pa.BufferOutputStream()
    with pa.ipc.new_file(body, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(table)
    return bytes(body.getvalue())
