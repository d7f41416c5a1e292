"""Words counted by plain Python, one line at a time: what the word transform must agree with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass
class Words:
    """`lines` counts all of them, `rejected` names those that count no word."""

    running: Counter[str] = field(default_factory=Counter)
    lines: int = 0
    rejected: list[tuple[int, str]] = field(default_factory=list)

    def add(self, line: bytes | None) -> None:
        number, self.lines = self.lines, self.lines + 1
        try:
            words = line.decode().split() if line is not None else None
        except UnicodeDecodeError:
            self.rejected.append((number, "not_utf8"))
            return
        if words is None:
            self.rejected.append((number, "no_value"))
        elif any(len(word) > 500 for word in words):
            self.rejected.append((number, "long_word"))
        else:
            self.running.update(words)

    def most_frequent(self, limit: int) -> list[tuple[str, int]]:
        return sorted(self.running.items(), key=lambda item: (-item[1], item[0]))[:limit]


def words_of(lines: Iterable[bytes | None]) -> Words:
    counted = Words()
    for line in lines:
        counted.add(line)
    return counted
