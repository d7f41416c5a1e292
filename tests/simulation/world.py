"""The server's side: objects with S3's semantics, requests that travel, a clock, and what must be true.

A request has outcomes, chosen by whoever explores: it is done; it is lost; it is done and the answer is
lost; the answer is of a retry that met its own write; it arrives much later; or, on a store that checks
If-Match first and writes later, its check has passed and its write is still to come.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import Any, NamedTuple

from millrace.publish import layout
from millrace.publish.codec import decode_facts
from millrace.publish.fold import SETTLED_AFTER
from millrace.store import (
    NotFound,
    ObjectInfo,
    PreconditionFailed,
    StoredObject,
    StoreError,
    StoreUnavailable,
)
from tests.simulation.dataset import DATASET, LANDING, PUBLISHED
from tests.simulation.ghost import NOTHING, Ghost, holds, join, of_published

WINDOW = 2
"""Ticks in which a write lands after its check."""
TICK = SETTLED_AFTER / WINDOW
_BEGIN = datetime(2026, 4, 1, tzinfo=UTC)


class Request(NamedTuple):
    """One request. `condition` of a PUT: None, "absent" or an ETag; `after`: where a page of a LIST begins."""

    verb: str
    key: str
    body: bytes = b""
    condition: str | None = None
    after: str = ""

    def __str__(self) -> str:
        return f"{self.verb} {self.key.removeprefix(LANDING)}" + (
            f" if {self.condition}" if self.condition else ""
        )


class Stored(NamedTuple):
    body: bytes
    etag: str
    modified: int


class Travelling(NamedTuple):
    """A request that has not reached the store, or (with a deadline) one that was checked and not written."""

    actor: str | None
    deadline: int | None
    request: Request


parse_landing_key = cache(layout.parse_landing_key)
BLOCKED = object()
"""The answer of a request that is still being worked on."""


@cache
def etag_of(body: bytes) -> str:
    return hashlib.md5(body, usedforsecurity=False).hexdigest()[:8]


@cache
def time_of(clock: int) -> datetime:
    return _BEGIN + TICK * clock


@cache
def landed_ghost(key: str, body: bytes) -> Ghost:
    """What a landing object adds: its rows, and the floor of its replay."""
    name = parse_landing_key(key)
    if name.is_seal:
        return NOTHING
    rows = decode_facts(body, DATASET, key).select("key", "n", "version").rows()
    return Ghost(name.version.replay, frozenset((k, (version, n)) for k, n, version in rows))


class World:
    """The store and all that an all-knowing observer notes about it."""

    def __init__(self, *, atomic: bool = True, page: int = 1000) -> None:
        self.atomic = atomic
        self.page = page
        self.objects: dict[str, Stored] = {}
        self.travelling: tuple[Travelling, ...] = ()
        self.clock = 0
        self.ever = NOTHING
        self.written: frozenset[tuple[str, tuple[int, int]]] = frozenset()
        self.needs: tuple[tuple[int, Ghost], ...] = ()
        self.sealed = -1
        self.void: frozenset[int] = frozenset()
        self.mended = False
        self.expiring = self.expired = self.behind_horizon = False
        self.whole_replay: Ghost | None = None
        self.violations: tuple[str, ...] = ()

    def copy(self) -> World:
        twin = World.__new__(World)
        twin.__dict__.update(self.__dict__)
        twin.objects = dict(self.objects)
        return twin

    def fingerprint(self) -> Any:
        return (
            frozenset(self.objects.items()),
            self.travelling,
            self.clock,
            self.ever,
            self.needs,
            self.violations,
        )

    def violated(self, what: str) -> None:
        if what not in self.violations:
            self.violations += (what,)

    @property
    def published(self) -> Ghost:
        found = self.objects.get(PUBLISHED)
        return of_published(found.body) if found else NOTHING

    def landing(self) -> list[str]:
        return sorted(key for key in self.objects if key.startswith(LANDING))

    # What may become of a request, and doing it.

    def outcomes(self, request: Request, *, faults: bool) -> list[str]:
        """The first is what happens on a good day."""
        if request.verb in ("GET", "LIST"):
            return ["done", "lost"] if faults else ["done"]
        if request.verb == "DELETE":
            return ["done", "lost", "unanswered", "late"] if faults else ["done"]
        found = ["done"]
        met = self._met(request.condition, request.key)
        if request.condition and met and not self.atomic and request.key == PUBLISHED:
            found += ["checked", "checked, unanswered"] if faults else ["checked"]
        if faults:
            found += ["lost", "late"]
            found += ["unanswered"] if met else []
            found += ["own write met"] if met and request.condition else []
        return found

    def perform(self, actor: str, request: Request, outcome: str) -> Any:
        """The answer: a value, an exception (not raised) or BLOCKED."""
        if outcome == "lost":
            return StoreUnavailable("request lost")
        if outcome == "late":
            self.travelling += (Travelling(None, None, request),)
            return StoreUnavailable("no answer")
        if outcome.startswith("checked"):
            waiting = None if outcome.endswith("unanswered") else actor
            self.travelling += (Travelling(waiting, self.clock + WINDOW, request._replace(condition=None)),)
            return BLOCKED if waiting else StoreUnavailable("no answer")
        answer = getattr(self, "_" + request.verb.lower())(request)
        if outcome == "unanswered":
            return StoreUnavailable("no answer")
        if outcome == "own write met":
            return PreconditionFailed(request.key)
        return answer

    def deliver(self, number: int) -> tuple[str | None, Any]:
        """A travelling request arrives; the actor that waits for it, and its answer."""
        actor, _, request = self.travelling[number]
        self.travelling = self.travelling[:number] + self.travelling[number + 1 :]
        if request.condition and not self.atomic and request.key == PUBLISHED:
            if self._met(request.condition, request.key):
                written_later = Travelling(None, self.clock + WINDOW, request._replace(condition=None))
                self.travelling += (written_later,)
            return None, None
        return actor, getattr(self, "_" + request.verb.lower())(request)

    def may_tick(self) -> bool:
        return all(one.deadline is None or one.deadline > self.clock for one in self.travelling)

    def _met(self, condition: str | None, key: str) -> bool:
        found = self.objects.get(key)
        if condition is None:
            return True
        return found is None if condition == "absent" else found is not None and found.etag == condition

    def _get(self, request: Request) -> StoredObject | StoreError:
        found = self.objects.get(request.key)
        if found is None:
            return NotFound(request.key)
        return StoredObject(found.body, found.etag, time_of(found.modified), time_of(self.clock))

    def _list(self, request: Request) -> tuple[list[ObjectInfo], bool]:
        keys = sorted(key for key in self.objects if key.startswith(request.key) and key > request.after)
        page = [
            ObjectInfo(key, len(found.body), found.etag, time_of(found.modified))
            for key in keys[: self.page]
            for found in (self.objects[key],)
        ]
        return page, len(keys) > self.page

    def _delete(self, request: Request) -> None:
        if request.key in self.objects:
            del self.objects[request.key]
            self._nothing_is_lost()

    def _put(self, request: Request) -> str | StoreError:
        if not self._met(request.condition, request.key):
            return PreconditionFailed(request.key)
        before = self.objects.get(request.key)
        self.objects[request.key] = Stored(request.body, etag_of(request.body), self.clock)
        if request.key.startswith(LANDING):
            name = parse_landing_key(request.key)
            if name.is_seal:
                self.sealed = max(self.sealed, name.version.packed())
            elif name.version.generation not in self.void:
                self.written |= landed_ghost(request.key, request.body).rows
                self.ever = join(self.ever, landed_ghost(request.key, request.body))
            self._nothing_is_lost()
        elif request.key == PUBLISHED:
            self._publishing_is_right(of_published(before.body) if before else NOTHING, before is not None)
            self._nothing_is_lost()
        return etag_of(request.body)

    # What must be true.

    def _nothing_is_lost(self) -> None:
        if self.expiring:
            return
        known = self.published
        for key in self.objects:
            if key.startswith(LANDING) and parse_landing_key(key).version.generation not in self.void:
                known = join(known, landed_ghost(key, self.objects[key].body))
        if not holds(known, self.ever):
            self.violated("a fact is lost")

    def _publishing_is_right(self, before: Ghost, existed: bool) -> None:
        now = self.published
        if self.atomic and existed:  # elsewhere readers wait until it has settled
            if not holds(now, before):
                self.violated("published went backwards")
            if now.final < before.final and not now.expired:
                self.violated("final went backwards")
            if now.rev <= before.rev and now != before:
                self.violated("rev did not grow")
        if self.expired and not now.expired and not self.behind_horizon:
            self.violated("an expired hour came back")
        self.shown(now)

    def shown(self, hour: Ghost) -> None:
        """What any published state must fulfil, whoever sees it."""
        if hour.expired or self.behind_horizon:
            return
        if any(hour.final >= version and not holds(hour, need) for version, need in self.needs):
            self.violated("final, but a sealed fact is missing")
        if not hour.rows <= self.written:
            self.violated("a row that nobody wrote for this hour")
        whole = self.whole_replay
        if whole is not None and hour.floor == whole.floor and not holds(hour, whole):
            self.violated("a replay is half visible")


class SimulatedStore:
    """The client's side: the ObjectStore of one actor. `ask` hands a request over and returns the answer."""

    def __init__(self, world: World, ask: Callable[[Request], Any]) -> None:
        self._world = world
        self._ask = ask

    @property
    def if_match_is_atomic(self) -> bool:
        return self._world.atomic

    def get(self, key: str) -> StoredObject:
        answer: StoredObject = self._answer(Request("GET", key))
        return answer

    def get_body(self, key: str) -> bytes:
        return self.get(key).body

    def put(self, key: str, body: bytes, *, if_match: str | None = None, if_absent: bool = False) -> str:
        answer: str = self._answer(Request("PUT", key, body, "absent" if if_absent else if_match))
        return answer

    def delete(self, key: str) -> None:
        self._answer(Request("DELETE", key))

    def list_objects(self, prefix: str, *, after: str | None = None) -> Any:
        last, more = after or "", True
        while more:
            page, more = self._answer(Request("LIST", prefix, after=last))
            yield from page
            last = page[-1].key if page else last

    def list_prefixes(self, prefix: str) -> list[str]:
        raise NotImplementedError("the publish protocol lists no prefixes")

    def _answer(self, request: Request) -> Any:
        answer = self._ask(request)
        if isinstance(answer, Exception):
            raise answer
        return answer
