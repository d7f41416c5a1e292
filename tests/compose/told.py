"""What a run of the trials says: each step with its time while it runs, and the whole as Markdown at its end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

from rich.console import Console

from millrace.local.progress import Steps
from tests.chaos.report import machine
from tests.compose.standins import Image


@dataclass(frozen=True)
class Killed:
    """One container that was killed. Seconds until Docker said that it is healthy again, and until the streams had
    committed records that came after that."""

    container: str
    healthy: float
    committed: float


@dataclass
class Told:
    """Everything that a run has to tell."""

    steps: list[tuple[str, float, str]] = field(default_factory=list)
    images: list[Image] = field(default_factory=list)
    versions: list[str] = field(default_factory=list)
    killed: list[Killed] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    finished: bool = False
    """Whether it came to its end, well or not."""
    kept_in: Path | None = None
    """A file that has the report of all steps so far, for a run that is broken off."""
    _printed: Steps = field(default_factory=lambda: Steps(Console()))
    _began: float = field(default_factory=monotonic)

    @contextmanager
    def step(self, title: str) -> Iterator[Callable[[str], None]]:
        """Time what is done in the block; call what is given with a word about the result."""
        began, words = monotonic(), [""]
        try:
            with self._printed.step(title) as note:

                def say(text: str) -> None:
                    words[0] = text
                    note(text)

                yield say
        except BaseException:
            self.failed.append(title)
            words[0] = "**failed**"
            raise
        finally:
            self.steps.append((title, monotonic() - began, words[0]))
            if self.kept_in is not None:
                self.kept_in.write_text(self.markdown(), encoding="utf-8")

    def markdown(self) -> str:
        minutes, seconds = divmod(int(monotonic() - self._began), 60)
        if self.failed:
            how = f"**Failed: {', '.join(self.failed)}.**"
        else:
            how = "Everything was as it should be." if self.finished else "**Broken off after these steps.**"
        standins = [one for one in self.images if one.is_standin]
        blocks = [
            f"`make test-compose` on {datetime.now(UTC):%Y-%m-%d}: {minutes} min {seconds} s; {machine()}; "
            f"{', '.join(self.versions)}. {how}",
            f"Images: {len(standins)} of {len(self.images)} could not be pulled and were stand-ins.",
            _table(
                ("image", "what it was", "since when"),
                [
                    (one.name, "**stand-in**" if one.is_standin else "the real one", one.note)
                    for one in self.images
                ],
            ),
            _table(
                ("step", "s", "what came of it"),
                [(title, f"{took:.1f}", words) for title, took, words in self.steps],
            ),
        ]
        if self.killed:
            blocks.append(
                _table(
                    ("container killed", "s to healthy", "s to the next commits of all streams"),
                    [(one.container, f"{one.healthy:.1f}", f"{one.committed:.1f}") for one in self.killed],
                )
            )
        return "\n\n".join(blocks)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))
