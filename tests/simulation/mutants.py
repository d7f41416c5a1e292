"""Each rule of the publish protocol, and the smallest change of the real code that leaves it out."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FunctionType, ModuleType

from millrace.publish import expire, fold, freshest, hour, joined, landed, landing, layout, settled
from tests.simulation import actors
from tests.simulation.schedule import Mix


@dataclass(frozen=True)
class Mutant:
    """`changes`: module, text as it stands in its source exactly once, text instead.

    `mix`: the schedules that show it; None: it is shown by exploring a small case in every order.
    """

    rule: str
    changes: tuple[tuple[ModuleType, str, str], ...]
    mix: Mix | None


@contextmanager
def in_place(mutant: Mutant) -> Iterator[None]:
    """The changed code runs in the very functions that everybody has imported, for the length of a block."""
    undo = []
    try:
        for module in dict.fromkeys(module for module, _, _ in mutant.changes):
            source = inspect.getsource(module)
            for _, old, new in (change for change in mutant.changes if change[0] is module):
                assert source.count(old) == 1, f"{module.__name__} no longer has exactly one {old!r}"
                source = source.replace(old, new)
            changed: dict[str, object] = {"__name__": module.__name__}
            exec(compile(source, str(module.__file__), "exec"), changed)
            for function, other in _pairs(vars(module), changed, module.__name__):
                undo.append((function, function.__code__))
                function.__code__ = other.__code__
        yield
    finally:
        for function, code in undo:
            function.__code__ = code


def _pairs(
    real: dict[str, object], changed: dict[str, object], module: str
) -> Iterator[tuple[FunctionType, FunctionType]]:
    for name, found in list(real.items()):
        other = changed.get(name)
        if isinstance(found, FunctionType) and isinstance(other, FunctionType):
            if found.__module__ == module and not found.__closure__:
                yield found, other
        elif isinstance(found, type) and isinstance(other, type) and found.__module__ == module:
            yield from _pairs(dict(vars(found)), dict(vars(other)), module)


ATOMIC = Mix(atomic=True, retention="none", replay=False, audited=False)
BUSY = Mix(atomic=True, publishers=3, retention="none", replay=False, audited=False)
CHECKED = Mix(atomic=False, publishers=3, retention="none", replay=False, audited=False)
REPLAY = Mix(atomic=True, retention="none", replay=True, audited=False)
_PUT = "            store.put(key, body, if_match=etag, if_absent=etag is None)\n"
_UNCONFIRMED = (
    '            log.info("%s %s: write not confirmed (%s); reading again", dataset.name, hour, problem)\n'
)
_READ = (
    "        published, etag, settled = _read_published(store, dataset, hour)\n        if published.expired"
)
_HORIZON = "    horizon = read_horizon(store, dataset)\n"

MUTANTS = (
    Mutant(
        "publish under the condition that the hour is still the one that was read",
        ((fold, _PUT, "            store.put(key, body)\n"),),
        BUSY,
    ),
    Mutant(
        "learn nothing from a refused PUT: it is no success of one's own",
        (
            (
                fold,
                _UNCONFIRMED,
                _UNCONFIRMED
                + "            if isinstance(problem, PreconditionFailed):\n"
                + "                _delete(store, sorted(landed.facts), side_by_side)\n",
            ),
        ),
        BUSY,
    ),
    Mutant(
        "learn nothing from an unanswered PUT",
        ((fold, _UNCONFIRMED, "            _delete(store, sorted(landed.facts), side_by_side)\n"),),
        ATOMIC,
    ),
    Mutant(
        "delete only what the published hour dominates",
        (
            (
                fold,
                "sorted(landed.facts if unchanged else landed.dominated)",
                "sorted(landed.facts)",
            ),
        ),
        ATOMIC,
    ),
    Mutant(
        "delete only what this fold has read, never a fresh listing",
        (
            (
                fold,
                "deleted += _delete(store, dominated, side_by_side)",
                "deleted += _delete(store, _listed(store, dataset, hour) if same(candidate, published) else [],"
                " side_by_side)",
            ),
        ),
        ATOMIC,
    ),
    Mutant(
        "what was read in an earlier pass is deleted only when the published hour holds it",
        (
            (
                landed,
                "return before if add_nothing([self._rows], published, self.dataset.keys)[0] else set()",
                "return before",
            ),
        ),
        BUSY,
    ),
    Mutant(
        "GET the published hour before the LIST",
        (
            (fold, _READ, "        landed = reader.read(empty_hour(dataset))\n" + _READ),
            (fold, "        landed = reader.read(published)\n", ""),
        ),
        None,
    ),
    Mutant(
        "a seal counts once it was published before the LIST, not at sight",
        (
            (
                fold,
                "if unchanged and all(writer in published.seals for writer in dataset.writers):\n"
                "        newest = max(published.seals.values())",
                "if all(writer in seals for writer in dataset.writers):\n        newest = max(seals.values())",
            ),
        ),
        None,
    ),
    Mutant(
        "a seal is deleted only once final covers it",
        (
            (
                fold,
                "if published.final is not None\n        and published.final >= version\n"
                "        and published.seals.get(writer, -1) >= version",
                "if version >= 0",
            ),
        ),
        ATOMIC,
    ),
    Mutant(
        "rev grows with every change",
        ((fold, "candidate = replace(candidate, rev=published.rev + 1)", "pass"),),
        ATOMIC,
    ),
    Mutant(
        "the newest version wins",
        (
            (
                hour,
                "rows.filter(pl.col(VERSION) == pl.col(VERSION).max().over(keys))",
                "rows.filter(pl.col(VERSION) == pl.col(VERSION).min().over(keys))",
            ),
        ),
        ATOMIC,
    ),
    Mutant(
        "a tie of versions goes to the greater content, whatever the order",
        (
            (
                hour,
                'rows.sort(rows.columns).unique(subset=list(keys), keep="last", maintain_order=True)',
                'rows.unique(subset=list(keys), keep="first")',
            ),
        ),
        Mix(atomic=True, retention="none", replay=False, zombie=True, twins_differ=True, generations=1),
    ),
    Mutant(
        "a landing object's name holds the hash of its content",
        (
            (layout, "hashlib.sha256(body)", 'hashlib.sha256(b"")'),
            (joined, "return hashlib.sha256(body).hexdigest()[:16] == name.digest", "return True"),
        ),
        Mix(atomic=True, retention="none", replay=False, zombie=True, twins_differ=False),
    ),
    Mutant(
        "a generation's facts of hours that it saw in part do not count",
        (
            (
                landed,
                "return first is not None and not name.is_seal and name.hour < first",
                "return False",
            ),
        ),
        Mix(atomic=True, retention="none", replay=False, generations=2, void=True),
    ),
    Mutant(
        "where If-Match is checked first, delete only when the published hour has settled",
        (
            (
                settled,
                "return store.if_match_is_atomic or found.server_date - found.last_modified > SETTLED_AFTER",
                "return True",
            ),
        ),
        CHECKED,
    ),
    Mutant(
        "where If-Match is checked first, a reader acts on settled hours only",
        ((actors, "if not is_settled(store, found):", "if False:"),),
        Mix(atomic=False, publishers=3, retention="none", replay=False, reader="published"),
    ),
    Mutant(
        "expired absorbs everything",
        (
            (fold, "if published.expired:  # absorbs", "if False:  # absorbs"),
            (
                fold,
                "candidate = replace(published, rows=rows,",
                "candidate = replace(published, expired=False, rows=rows,",
            ),
        ),
        Mix(atomic=True, retention="expire"),
    ),
    Mutant(
        "retention writes an empty hour and does not delete the object",
        (
            (
                expire,
                "store.put(key, encode_hour(expired, dataset), if_match=etag, if_absent=etag is None)",
                "store.delete(key)",
            ),
            (
                expire,
                "    except NotFound:\n        return False\n",
                "    except NotFound:\n        return True\n",
            ),
        ),
        Mix(atomic=True, retention="expire"),
    ),
    Mutant(
        "a fold refuses hours before the horizon",
        ((fold, "if horizon is not None and hour < horizon:", "if False:"),),
        Mix(atomic=True, retention="horizon"),
    ),
    Mutant(
        "a replay raises the floor",
        (
            (
                fold,
                "floor = max(published.replay_floor, landed.replay_floor)",
                "floor = published.replay_floor",
            ),
        ),
        REPLAY,
    ),
    Mutant(
        "rows below the floor no longer count",
        (
            (
                fold,
                "newest_of([published.rows, landed.rows], dataset.keys, floor)",
                "newest_of([published.rows, landed.rows], dataset.keys)",
            ),
        ),
        REPLAY,
    ),
    Mutant(
        "a replay is one object",
        (
            (
                landing,
                "    body = encode_facts(stamped, dataset)\n"
                "    store.put(facts_key(dataset.name, hour, version, 0, body), body)\n",
                "    for number in range(stamped.height):\n"
                "        body = encode_facts(stamped[number : number + 1], dataset)\n"
                "        store.put(facts_key(dataset.name, hour, version, number, body), body)\n",
            ),
        ),
        REPLAY,
    ),
    Mutant(
        "a reader of the freshest totals reads landing first and the published hour last",
        (
            (freshest, "    landed = reader.read(empty_hour(dataset))\n", ""),
            (
                freshest,
                "    refuse_expired(read_horizon",
                "    landed = reader.read(empty_hour(dataset))\n    refuse_expired(read_horizon",
            ),
        ),
        Mix(atomic=True, retention="none", replay=False, audited=False, reader="freshest"),
    ),
    Mutant(
        "a driver writes its facts until the store says yes, before it seals",
        (
            (
                actors,
                "            forever(lambda: write(batch))  # noqa: B023\n",
                "            try:\n                write(batch)\n"
                "            except StoreError:\n                pass\n",
            ),
        ),
        ATOMIC,
    ),
)
