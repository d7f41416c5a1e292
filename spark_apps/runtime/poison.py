"""Recognising a micro-batch that ends its driver each time it is tried, across the driver's lives.

Beside the checkpoint stands a mark of the batch at hand: written before it, removed when it is committed. A driver
that is killed leaves it behind, and the next life counts a death. Two counts, because two things are known:

* An exception raised by the transform over the same records is evidence: three in a row are enough.
* A death without a word proves nothing. Whoever kills drivers at random may hit the same long batch twice or
  three times; five in a row, without anything committed in between, are what the stream host allows itself before it
  gives up (six lives, see `millrace.control.lives`), so that the batch is named before the stream is given up.

Failures of the environment (Kafka, the store, a full disk) and deaths while the driver was asked to stop say nothing
about a batch and are not counted.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

from spark_apps.runtime.errors import PoisonedBatch

log = logging.getLogger(__name__)

FAILURES = 3
DEATHS = 5
SILENT_DEATH = "the process died without a word (killed, or out of memory)"

Cause = Literal["failure", "death", "environment"]
Verdict = Literal["try", "look"]
"""`look`: try each part of the batch apart from the driver, and put aside what fails."""
Spans = Mapping[str, tuple[int, int]]
"""Partition to (first offset, next offset after the last)."""


@dataclass(frozen=True)
class Mark:
    """What is known of the batch at hand. `open`: it was begun, and nobody has said how that ended."""

    generation: int
    batch: int
    spans: dict[str, tuple[int, int]] = field(default_factory=dict)
    failures: int = 0
    deaths: int = 0
    last: str = ""
    open: bool = True
    looked: bool = False
    """Whether its parts were tried apart since it was recognised."""
    named: bool = False
    """Whether it has ended a driver as poisoned; whoever starts the stream again gets one more try."""

    def is_of(self, other: Mark) -> bool:
        return (self.generation, self.batch, self.spans) == (other.generation, other.batch, other.spans)

    @property
    def is_poisoned(self) -> bool:
        return self.failures >= FAILURES or self.deaths >= DEATHS


class Attempts:
    """The attempts at one batch after another of one stream, in `path`.

    `puts_aside`: the stream's policy. `counts_deaths`: False where a death may be another stream's doing.
    """

    def __init__(self, path: Path, topic: str, *, puts_aside: bool, counts_deaths: bool) -> None:
        self._path, self._topic = path, topic
        self._puts_aside, self._counts_deaths = puts_aside, counts_deaths
        self._mark: Mark | None = None

    def begin(self, generation: int, batch: int, spans: Spans) -> Verdict:
        """How to go about this batch. Raises PoisonedBatch when it is not to be tried again."""
        mark = Mark(generation, batch, dict(spans))
        before = self._read()
        if before is not None and before.is_of(mark):
            mark = replace(before, open=True)
            if before.open and self._counts_deaths:
                mark = replace(mark, deaths=mark.deaths + 1, last=SILENT_DEATH)
        if not mark.is_poisoned or mark.named:
            self._write(replace(mark, named=False))
            return "try"
        return self._recognised(mark)

    def failed(self, cause: Cause, words: str, *, can_go_on: bool = True) -> Verdict | None:
        """The attempt ended with an exception. None: the driver ends of it; else how to go on at once.

        `can_go_on`: whether this driver still can; otherwise the next one draws the conclusion. Raises PoisonedBatch.
        """
        mark = self._mark
        if mark is None:
            return None
        if cause == "failure":
            mark = replace(mark, failures=mark.failures + 1, last=words)
        elif cause == "death" and self._counts_deaths:
            mark = replace(mark, deaths=mark.deaths + 1, last=words)
        mark = replace(mark, open=False)
        self._write(mark)
        if cause == "environment" or not can_go_on or not mark.is_poisoned:
            return None
        return self._recognised(mark)

    def excuse(self) -> None:
        """However this life ends, it is not the batch's doing: the driver was asked to stop."""
        if self._mark is not None and self._mark.open:
            self._write(replace(self._mark, open=False))

    def committed(self) -> None:
        """The batch at hand is done."""
        self._mark = None
        with suppress(OSError):
            self._path.unlink()

    def _recognised(self, mark: Mark) -> Verdict:
        if self._puts_aside and not mark.looked:
            self._write(replace(mark, looked=True, open=True))
            return "look"
        self._write(replace(mark, named=True, looked=False, open=False))
        raise PoisonedBatch(_in_words(mark, self._topic))

    def _write(self, mark: Mark) -> None:
        self._mark = mark
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.write_text(json.dumps(asdict(mark)), encoding="utf-8")
        except OSError as error:
            # Without a mark a poisoned batch would end every life; a life must not end for want of a mark.
            log.warning("the mark of the batch at hand cannot be written: %s", error)

    def _read(self) -> Mark | None:
        try:
            fields = json.loads(self._path.read_text(encoding="utf-8"))
            spans = {partition: (int(first), int(end)) for partition, (first, end) in fields["spans"].items()}
            return Mark(**{**fields, "spans": spans})
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None  # none, half written, or of another version: counting begins anew


def offsets_in_words(topic: str, spans: Spans) -> str:
    """Such as 'topic posts, partition 0, offsets 120 to 134'."""
    parts = spans_in_words(spans)
    return f"topic {topic}, {parts}" if parts else topic


def spans_in_words(spans: Spans) -> str:
    """Such as 'partition 0, offsets 120 to 134'."""
    return "; ".join(
        f"partition {partition}, offsets {first} to {end - 1}"
        for partition, (first, end) in sorted(spans.items(), key=lambda item: int(item[0]))
        if end > first
    )


def _in_words(mark: Mark, topic: str) -> str:
    times = [f"failed {_times(mark.failures)}"] if mark.failures else []
    times += [f"ended its driver {_times(mark.deaths)}"] if mark.deaths else []
    looked = ""
    if mark.looked:
        looked = (
            "on_poison is put_aside, but no record of it fails when its transform is tried apart from the driver, so "
            "nothing could be put aside; "
        )
    return (
        f"micro-batch {mark.batch} of generation {mark.generation} ({offsets_in_words(topic, mark.spans)}) "
        f"{' and '.join(times)} in a row, the last time: {mark.last[:1500]}. {looked}Nothing of it is lost: it is "
        "tried once more when the stream is started again. Mend the cause (see docs/poisoned-batches.md), then start it"
    )


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
