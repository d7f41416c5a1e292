"""Pure functions of the publish code remembered by content, for the length of a block.

A schedule has few different hours and thousands of passes over them; without this nearly all of its time
would go into the fixed cost of Parquet and of data frames of three rows. Only functions of their arguments
are remembered: nothing that asks the store, nothing that decides what is done next.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import polars as pl

from millrace.publish import expire, fold, freshest, joined, landed, landing
from millrace.publish.hour import HourState


class Interned:
    """Frames by content: equal frames become one object, so that identity can be a key."""

    def __init__(self) -> None:
        self._by_id: dict[int, pl.DataFrame] = {}
        self._by_content: dict[Any, pl.DataFrame] = {}

    def __call__(self, frame: pl.DataFrame) -> pl.DataFrame:
        if self._by_id.get(id(frame)) is frame:
            return frame
        known = self._by_content.setdefault((tuple(frame.columns), tuple(frame.rows())), frame)
        self._by_id[id(known)] = known
        return known


@contextmanager
def memoised() -> Iterator[None]:
    intern = Interned()

    def frame_key(frame: pl.DataFrame) -> int:
        return id(intern(frame))

    def remember(function: Callable[..., Any], key: Callable[..., Any], wrap: Callable[[Any], Any]) -> Any:
        known: dict[Any, Any] = {}

        def remembered(*args: Any) -> Any:
            asked = key(*args)
            try:
                found = known[asked]
            except KeyError:
                try:
                    found = wrap(function(*args)), None
                except ValueError as error:
                    found = None, error
                known[asked] = found
            if found[1] is not None:
                raise found[1]
            return found[0]

        return remembered

    def same(value: Any) -> Any:
        return value

    def with_frame(state: HourState) -> HourState:
        object.__setattr__(state, "rows", intern(state.rows))
        return state

    def hour_key(state: HourState, *_: Any) -> Any:
        quality = None if state.quality is None else json.dumps(dict(state.quality))
        marks = (
            state.replay_floor,
            tuple(sorted(state.seals.items())),
            state.final,
            state.rev,
            state.expired,
        )
        return frame_key(state.rows), marks, quality

    empty = remember(landed.empty_hour, lambda *_: None, with_frame)
    decode = remember(fold.decode_hour, lambda body, *_: body, with_frame)
    encode = remember(fold.encode_hour, hour_key, same)
    newest = remember(
        fold.newest_of,
        lambda frames, _keys, floor=0: (tuple(frame_key(frame) for frame in frames), floor),
        lambda answer: (intern(answer[0]), answer[1]),
    )
    nothing = remember(
        landed.add_nothing,
        lambda frames, published, _keys: (
            tuple(frame_key(frame) for frame in frames),
            frame_key(published.rows),
            published.replay_floor,
        ),
        same,
    )
    may_add = remember(
        joined.may_add,
        lambda frames, published, _keys: (
            tuple(frame_key(frame) for frame in frames),
            frame_key(published.rows),
            published.replay_floor,
        ),
        lambda answer: tuple(frozenset(some) for some in answer),
    )
    together = remember(
        joined.decode_together,
        lambda bodies, _dataset, only=(): (tuple(bodies), tuple(only)),
        lambda frames: frames and [intern(frame) for frame in frames],
    )
    join_objects = remember(
        landed.join_objects,
        lambda bodies, _names, published, _dataset: (
            tuple(bodies.items()),
            frame_key(published.rows),
            published.replay_floor,
        ),
        lambda answer: replace(answer, newest=intern(answer.newest)),
    )
    objects = remember(
        landing.landing_objects,
        lambda _dataset, facts, version, part: (frame_key(facts), version, part),
        same,
    )
    parse = remember(landed.parse_landing_key, lambda key: key, same)
    with (
        patch.object(fold, "empty_hour", empty),
        patch.object(fold, "decode_hour", decode),
        patch.object(fold, "encode_hour", encode),
        patch.object(fold, "newest_of", newest),
        patch.object(expire, "empty_hour", empty),
        patch.object(expire, "decode_hour", decode),
        patch.object(expire, "encode_hour", encode),
        patch.object(freshest, "empty_hour", empty),
        patch.object(freshest, "decode_hour", decode),
        patch.object(landed, "empty_hour", empty),
        patch.object(landed, "newest_of", newest),
        patch.object(landed, "add_nothing", nothing),
        patch.object(landed, "join_objects", join_objects),
        patch.object(joined, "newest_of", newest),
        patch.object(joined, "add_nothing", nothing),
        patch.object(joined, "may_add", may_add),
        patch.object(joined, "decode_together", together),
        patch.object(landed, "parse_landing_key", parse),
        patch.object(landing, "landing_objects", objects),
    ):
        yield
