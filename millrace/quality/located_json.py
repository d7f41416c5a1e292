"""JSON that remembers on which line each value stands, so that an error can name it."""

from __future__ import annotations

import json
import json.decoder
import json.scanner
from collections.abc import Callable, Sequence
from typing import Any


class Located(dict[str, Any]):
    """A JSON object with the line (from 1) that it begins on, and that of each key's value."""

    line: int = 1
    lines: dict[str, int]


class DuplicateKey(ValueError):
    """An object names a key twice; plain JSON readers would silently take the last one."""

    def __init__(self, key: str, line: int) -> None:
        super().__init__(f"the key {key!r} is there twice")
        self.line = line


class _Decoder(json.JSONDecoder):
    """The standard library's own decoder, in Python, with one step of it listened to."""

    def __init__(self) -> None:
        super().__init__()
        self.parse_object = self._located
        self.scan_once = json.scanner.py_make_scanner(self)  # type: ignore[attr-defined]

    def _located(
        self,
        text_and_end: tuple[str, int],
        strict: bool,
        scan_once: Callable[[str, int], Any],
        _object_hook: object,
        _pairs_hook: object,
        memo: dict[str, str],
    ) -> tuple[Located, int]:
        text, begin = text_and_end
        starts: list[int] = []

        def scan_value(text: str, start: int) -> Any:
            starts.append(start)
            return scan_once(text, start)

        pairs, end = json.decoder.JSONObject(  # type: ignore[attr-defined]
            text_and_end, strict, scan_value, None, list, memo
        )
        found = Located(pairs)
        found.line = _line(text, begin)
        found.lines = {}
        for (key, _), start in zip(pairs, starts, strict=True):
            if key in found.lines:
                raise DuplicateKey(key, _line(text, start))
            found.lines[key] = _line(text, start)
        return found, end


def loads(text: str) -> Any:
    """Like json.loads, with Located for objects. Raises JSONDecodeError and DuplicateKey."""
    return _Decoder().decode(text)


def line_of(document: Any, path: Sequence[str | int]) -> int:
    """The line of what lies at a path of keys and indexes, or of the nearest thing around it."""
    line = document.line if isinstance(document, Located) else 1
    for part in path:
        if isinstance(document, Located) and part in document:
            line = document.lines[str(part)]
            document = document[str(part)]
        elif isinstance(document, list) and isinstance(part, int) and part < len(document):
            document = document[part]
        else:
            break
        if isinstance(document, Located):
            line = document.line
    return line


def _line(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1
