"""Every commit of a micro-batch, as the object store saw it: the ground on which *exactly once* is judged."""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from spark_apps.runtime.carried_state import Manifest
from tests.chaos.proxy import Request

_MANIFEST = re.compile(r"(^|/)state/(?P<stream>[^/]+)/g(?P<generation>\d+)/manifest-(?P<batch>\d+)\.json$")


@dataclass(frozen=True)
class Commit:
    """One manifest that the store took. Times by `time.monotonic`."""

    began: float
    at: float
    manifest: Manifest

    @property
    def records(self) -> int:
        return sum(self.manifest.offsets.values())


class Journal:
    """Filled by the proxy's thread, read by all others."""

    def __init__(self) -> None:
        self._heard = threading.Condition()
        self._commits: dict[str, list[Commit]] = {}
        self._refused: Counter[str] = Counter()

    def note(self, request: Request, status: int) -> None:
        """A witness of the proxy."""
        if request.method != "PUT":
            return
        found = _MANIFEST.search(request.key)
        if found is None:
            return
        if status == 412:
            self._refused[found["stream"]] += 1
        if not 200 <= status < 300:
            return
        commit = Commit(request.began, time.monotonic(), Manifest.model_validate_json(request.body))
        with self._heard:
            self._commits.setdefault(found["stream"], []).append(commit)
            self._heard.notify_all()

    def commits(self, stream: str) -> list[Commit]:
        with self._heard:
            return list(self._commits.get(stream, []))

    def refused(self, stream: str) -> int:
        """How often a driver was told that a batch is committed already."""
        return self._refused[stream]

    def next_commit(self, stream: str, after: float, within: float) -> Commit | None:
        """The first commit that was begun after a moment; None when there is none within so many seconds."""

        def found() -> Commit | None:
            return next((one for one in self._commits.get(stream, []) if one.began > after), None)

        with self._heard:
            self._heard.wait_for(lambda: found() is not None, within)
            return found()

    def wait_for_records(self, stream: str, records: int, within: float) -> bool:
        """Until so many records of the topic are in the committed state."""
        with self._heard:
            return self._heard.wait_for(
                lambda: any(one.records >= records for one in reversed(self._commits.get(stream, []))), within
            )


def not_exactly_once(commits: Iterable[Commit]) -> list[str]:
    """What is wrong with a stream's commits: a batch twice, a gap, records that two batches counted, or none.

    Generations follow each other: one begins at the offsets where the one before ended.
    """
    wrong = []
    before: Manifest | None = None
    for commit in commits:
        manifest = commit.manifest
        name = f"generation {manifest.generation} batch {manifest.batch}"
        if before is not None:
            same_life = manifest.generation == before.generation
            if (
                manifest.batch != (before.batch + 1 if same_life else 0)
                or manifest.generation < before.generation
            ):
                wrong.append(f"{name} follows generation {before.generation} batch {before.batch}")
            if any(manifest.offsets.get(part, 0) < end for part, end in before.offsets.items()):
                wrong.append(f"{name} goes back: {before.offsets} to {manifest.offsets}")
        if manifest.totals.get("records", 0) != sum(manifest.offsets.values()):
            wrong.append(
                f"{name} counts {manifest.totals.get('records', 0)} records up to offsets {manifest.offsets}"
            )
        before = manifest
    return wrong
