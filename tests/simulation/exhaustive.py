"""Small cases in every order and with every outcome of every request.

An actor's next request is a function of the answers it has got, so a state of the whole is the store and
each actor's answers so far; one that was met before is not explored again. An actor cannot be copied: it is
run again from its beginning, fed with its answers, when its next request is not yet known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import greenlet

from tests.simulation.actors import Actor
from tests.simulation.world import BLOCKED, Request, SimulatedStore, World

Answers = tuple[Any, ...]


@dataclass(frozen=True)
class Explored:
    """How many states there were, and the first violation with the answers that lead to it."""

    states: int
    violations: tuple[str, ...] = ()
    path: tuple[str, ...] = ()


def explore(
    world: World,
    cast: Sequence[Callable[[World], Actor]],
    *,
    faults: int,
    ticks: int = 0,
    preemptions: int = 1000,
) -> Explored:
    """Every order of the actors' requests with at most `faults` bad outcomes and `ticks` of the clock.

    `preemptions` bounds how often an actor that could go on is interrupted by another. Races need few of
    them, and three actors without a bound have millions of orders.
    """

    following: dict[tuple[int, Answers], tuple[Request | None, Any]] = {}

    def next_request(number: int, answers: Answers) -> Request | None:
        known = following.get((number, answers))
        if known is None:
            known = following[number, answers] = _run_again(world, cast[number], answers)
        return known[0]

    seen = set()
    begin: tuple[Answers, ...] = tuple(() for _ in cast)
    stack: list[Any] = [(world, begin, frozenset(), faults, ticks, (None, preemptions), ())]
    while stack:
        now, answers, blocked, left, clock, (running, spare), path = stack.pop()
        state = (now.fingerprint(), answers, blocked, left, clock, running, spare)
        if state in seen:
            continue
        seen.add(state)
        if now.violations:
            return Explored(len(seen), now.violations, path)
        waiting = {
            number: request
            for number, got in enumerate(answers)
            if number not in blocked and (request := next_request(number, got)) is not None
        }
        for number, request in waiting.items():
            turn = (number, spare - 1 if running in waiting and running != number else spare)
            if turn[1] < 0:
                continue
            for outcome in now.outcomes(request, faults=left > 0):
                then = now.copy()
                answer = then.perform(str(number), request, outcome)
                cost = 0 if outcome in ("done", "checked") else 1
                told = (*path, f"{number}: {request}: {outcome}")
                if answer is BLOCKED:
                    stack.append((then, answers, blocked | {number}, left - cost, clock, turn, told))
                else:
                    stack.append(
                        (then, _with(answers, number, answer), blocked, left - cost, clock, turn, told)
                    )
        for number in range(len(now.travelling)):
            then = now.copy()
            told = (*path, f"arrives: {now.travelling[number].request}")
            actor, answer = then.deliver(number)
            if actor is not None and int(actor) in blocked:
                free = _with(answers, int(actor), answer)
                stack.append((then, free, blocked - {int(actor)}, left, clock, (running, spare), told))
            else:
                stack.append((then, answers, blocked, left, clock, (running, spare), told))
        if clock and now.may_tick():
            then = now.copy()
            then.clock += 1
            stack.append((then, answers, blocked, left, clock - 1, (running, spare), (*path, "clock")))
    return Explored(len(seen))


def _with(answers: tuple[Answers, ...], number: int, answer: Any) -> tuple[Answers, ...]:
    return (*answers[:number], (*answers[number], _Answer(answer)), *answers[number + 1 :])


class _Answer:
    """An answer that is equal to another of the same content, errors too."""

    def __init__(self, value: Any) -> None:
        self.value = value
        content = repr(value) if isinstance(value, Exception) or value is None else value
        self._content = (type(value).__name__, str(content) if isinstance(content, tuple) else content)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Answer) and self._content == other._content

    def __hash__(self) -> int:
        return hash(self._content)


def _run_again(world: World, actor: Callable[[World], Actor], answers: Answers) -> tuple[Request | None, Any]:
    """The request that follows these answers; None when the actor has ended."""
    thread = greenlet.greenlet(lambda _: actor(world)(SimulatedStore(world, thread.parent.switch)))
    request = thread.switch(None)
    for answer in answers:
        request = thread.switch(answer.value)
    if thread.dead:
        return None, None
    thread.throw()
    return request, None
