"""A backlog of hours that many processes fold: what is to be done, and what became of each hour, in the store.

`backlog/<run>/work.json` lists the hours; `backlog/<run>/done/<dataset>/<hour>.<outcome>.json` is written as
each is done. The outcome is in the name, so that one LIST tells how far the work is. Whoever ordered the work
reads the results and removes them.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from millrace.publish.outcome import NOT_PUBLISHED
from millrace.publish.side_by_side import in_threads
from millrace.store import NotFound, ObjectStore

PREFIX = "backlog/"
BEST_FIRST = ("published", "unchanged", "quarantined", "failed")
"""Work that was killed and begun again may have met an hour twice; what was published, was."""


class NoSuchWork(ValueError):
    """The work that was asked for is not in the store; says what to do."""


@dataclass(frozen=True)
class Part:
    """Some hours of one dataset, in order of time, that one process folds one after the other.

    Hours are texts such as 2026-03-01T14:00:00Z.
    """

    dataset: str
    hours: tuple[str, ...]

    def times(self) -> list[datetime]:
        return [datetime.fromisoformat(hour) for hour in self.hours]


def run_name(run_id: str) -> str:
    """A name for the work of one DAG run that may be part of a key, whatever is in the run's own name."""
    return hashlib.sha256(run_id.encode()).hexdigest()[:16]


def put_work(store: ObjectStore, run: str, parts: Sequence[Part]) -> None:
    """Say what is to be done; what was said and done under the same name before is removed."""
    forget(store, run)
    store.put(_work_key(run), json.dumps([asdict(part) for part in parts]).encode())


def read_work(store: ObjectStore, run: str) -> list[Part]:
    """What is to be done. Raises NoSuchWork."""
    try:
        listed = json.loads(store.get(_work_key(run)).body)
    except NotFound:
        raise NoSuchWork(
            f"the store has no {_work_key(run)}: it was done before, and its results are collected. "
            "Trigger compact_hourly anew, which lists what is due now"
        ) from None
    return [Part(one["dataset"], tuple(one["hours"])) for one in listed]


def note(store: ObjectStore, run: str, result: Mapping[str, Any]) -> None:
    """Keep what became of one hour (see `outcome.result_json`)."""
    key = f"{_done_prefix(run)}{result['dataset']}/{result['hour']}.{result['outcome']}.json"
    store.put(key, json.dumps(dict(result)).encode())


def noted(store: ObjectStore, run: str) -> dict[tuple[str, str], str]:
    """(dataset, hour) to the outcome, of every hour that is done."""
    return {name: _outcome_of(key) for name, key in _newest_word(store, run).items()}


def read_results(
    store: ObjectStore, run: str, wanted: Iterable[tuple[str, str]] | None = None
) -> list[dict[str, Any]]:
    """The results of every hour that is done, or of the wanted ones (dataset, hour)."""
    words = _newest_word(store, run)
    keys = [words[name] for name in (sorted(words) if wanted is None else wanted) if name in words]
    return [json.loads(stored.body) for stored in in_threads(store.get, keys)]


def with_the_missing(parts: Iterable[Part], results: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One result for each hour that was to be done: those that nobody came to have failed."""
    found = {(one["dataset"], one["hour"]): dict(one) for one in results}
    wanted = [(part.dataset, hour) for part in parts for hour in part.hours]
    return [found.get(name) or _not_reached(*name) for name in wanted]


def forget(store: ObjectStore, run: str) -> None:
    """Remove the work and its results."""
    in_threads(store.delete, [info.key for info in store.list_objects(f"{PREFIX}{run}/")])


def headway(total: int, outcomes: Iterable[str], seconds: float) -> str:
    """How far the work is after so many seconds, for a log."""
    counted = Counter(outcomes)
    done = sum(counted.values())
    bad = sum(counted[outcome] for outcome in NOT_PUBLISHED)
    text = f"{done:,} of {total:,} hours ({100 * done // max(total, 1)} %), {bad} not published"
    if not done or seconds <= 0:
        return text
    left = (total - done) * seconds / done
    return f"{text}, {done / seconds:.1f} hours/s" + (f", {_duration(left)} left" if done < total else "")


def _newest_word(store: ObjectStore, run: str) -> dict[tuple[str, str], str]:
    prefix = _done_prefix(run)
    best: dict[tuple[str, str], str] = {}
    for info in store.list_objects(prefix):
        dataset, _, name = info.key.removeprefix(prefix).partition("/")
        hour = name.split(".", 1)[0]
        before = best.get((dataset, hour))
        if before is None or _rank(info.key) < _rank(before):
            best[dataset, hour] = info.key
    return best


def _rank(key: str) -> int:
    return BEST_FIRST.index(_outcome_of(key))


def _outcome_of(key: str) -> str:
    return key.rsplit(".", 2)[1]


def _not_reached(dataset: str, hour: str) -> dict[str, Any]:
    error = "the Spark application ended before it came to this hour, or could not say what became of it"
    return {
        "dataset": dataset,
        "hour": hour,
        "outcome": "failed",
        "status": "unknown",
        "rows": 0,
        "rev": 0,
        "set_aside": 0,
        "error": error,
    }


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _work_key(run: str) -> str:
    return f"{PREFIX}{run}/work.json"


def _done_prefix(run: str) -> str:
    return f"{PREFIX}{run}/done/"
