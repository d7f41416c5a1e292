"""Conditional PUTs under a real race: of writers that begin at the same moment exactly one may win."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from millrace.store import ObjectStore, PreconditionFailed, StoreError

WRITERS = 8


@dataclass(frozen=True)
class Race:
    """Rounds by how they ended. `unclear`: a writer got no usable answer, and nobody else has won."""

    rounds: int
    one_winner: int = 0
    several_winners: int = 0
    no_winner: int = 0
    unclear: int = 0


Outcome = Literal["won", "lost", "unknown"]


def race_to_create(store: ObjectStore, prefix: str, rounds: int, writers: int = WRITERS) -> Race:
    """Each round: all writers create the same new object, with `If-None-Match: *`."""

    def attempt(number: int) -> Callable[[bytes], object]:
        return lambda body: store.put(f"{prefix}create-{number}", body, if_absent=True)

    return _race(rounds, writers, attempt, lambda number: store.delete(f"{prefix}create-{number}"))


def race_to_replace(store: ObjectStore, prefix: str, rounds: int, writers: int = WRITERS) -> Race:
    """Each round: all writers replace the same object, each with `If-Match` and the ETag that they all saw."""

    def attempt(number: int) -> Callable[[bytes], object]:
        key = f"{prefix}replace-{number}"
        etag = store.put(key, b"before")
        return lambda body: store.put(key, body, if_match=etag)

    return _race(rounds, writers, attempt, lambda number: store.delete(f"{prefix}replace-{number}"))


def _race(
    rounds: int,
    writers: int,
    attempt: Callable[[int], Callable[[bytes], object]],
    clean: Callable[[int], None],
) -> Race:
    ended = {"one_winner": 0, "several_winners": 0, "no_winner": 0, "unclear": 0}
    for number in range(rounds):
        outcomes = _round(writers, attempt(number))
        won = outcomes.count("won")
        if won:
            ended["one_winner" if won == 1 else "several_winners"] += 1
        else:
            ended["unclear" if "unknown" in outcomes else "no_winner"] += 1
        clean(number)
    return Race(rounds, **ended)


def _round(writers: int, put: Callable[[bytes], object]) -> list[Outcome]:
    barrier = threading.Barrier(writers)
    outcomes: list[Outcome] = []

    def write(number: int) -> None:
        barrier.wait()
        try:
            put(f"writer {number}".encode())
        except PreconditionFailed:
            outcomes.append("lost")
        except StoreError:
            outcomes.append("unknown")
        else:
            outcomes.append("won")

    threads = [threading.Thread(target=write, args=(number,)) for number in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes
