"""Hours as CSV, JSON lines or Parquet, written as they are read, so that a year needs no more memory than a day.

Times are ISO 8601 in UTC with microseconds and Z.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import polars as pl

    from millrace.catalog import DatasetSpec

Format = Literal["csv", "json", "parquet"]
_TIME = "%Y-%m-%dT%H:%M:%S%.6fZ"

Write = Callable[["pl.DataFrame"], None]


@contextmanager
def writing(dataset: DatasetSpec, form: Format, out: Path | None) -> Iterator[Write]:
    """A function that appends rows of the dataset. `out`: None means standard output.

    A file appears under its name only when all is written: an error leaves what was there before.
    """
    if out is None:
        with _appending(sys.stdout.buffer, dataset, form) as write:
            yield write
        sys.stdout.buffer.flush()
        return
    with tempfile.NamedTemporaryFile(dir=out.parent, prefix=f".{out.name}.", delete=False) as file:
        temporary = Path(file.name)
        try:
            with _appending(file, dataset, form) as write:
                yield write
            file.close()
            temporary.chmod(0o644)
            temporary.replace(out)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def _appending(file: IO[bytes], dataset: DatasetSpec, form: Format) -> Iterator[Write]:
    import polars as pl
    import pyarrow as pa
    import pyarrow.parquet as pq

    from millrace.publish.codec import schema_of
    from millrace.publish.hour import VERSION

    if form == "parquet":
        whole = schema_of(dataset)
        schema = whole.remove(whole.get_field_index(VERSION))
        with pq.ParquetWriter(file, schema, compression="zstd") as writer:

            def add(rows: pl.DataFrame) -> None:
                table: pa.Table = rows.to_arrow().cast(schema)
                writer.write_table(table)

            yield add
        return
    as_text = pl.col(pl.Datetime).dt.strftime(_TIME)
    if form == "csv":
        file.write((",".join(dataset.columns) + "\n").encode())
        # By way of bytes: Polars, writing itself, reports a reader that went away in words of its own.
        yield lambda rows: _put(file, rows.with_columns(as_text).write_csv(include_header=False))
    else:
        yield lambda rows: _put(file, rows.with_columns(as_text).write_ndjson())


def _put(file: IO[bytes], text: str) -> None:
    file.write(text.encode())
