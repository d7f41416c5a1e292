"""Bytes to text without failing on what is no text."""

from __future__ import annotations

import polars as pl


def decoded(values: pl.Series) -> pl.Series:
    """Binary values as UTF-8 text; null where a value is missing or is not UTF-8."""
    try:
        return values.cast(pl.String)
    except pl.exceptions.ComputeError:  # one bad value fails the whole cast
        return pl.Series(values.name, [_text(value) for value in values], dtype=pl.String)


def _text(value: bytes | None) -> str | None:
    try:
        return value.decode() if value is not None else None
    except UnicodeDecodeError:
        return None
