"""The generic fold of hourly totals against a plain recount, under garbage, repeats and any micro-batch boundary."""

from __future__ import annotations

import json
import pickle
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spark_apps.runtime.keyed_fold import RECORDS
from spark_apps.transforms.frame_pack import StateSchemaError
from spark_apps.transforms.hourly_totals import END_OF_INPUT, HourlyTotals

START = int(datetime(2026, 3, 1, 12, 30, tzinfo=UTC).timestamp())


def parse(value: bytes) -> Mapping[str, object]:
    fields = json.loads(value)
    return {
        "at": datetime.fromtimestamp(fields["at"], UTC),
        "page": fields["page"],
        "bytes": fields["bytes"],
        "id": fields["id"],
    }


FOLD = HourlyTotals(
    "views", parse, keys=("page",), sums=("bytes",), count="views", late_by=timedelta(hours=1)
)
ONCE = HourlyTotals(
    "views", parse, keys=("page",), sums=("bytes",), count="views", late_by=timedelta(hours=1), identity="id"
)


def view(at: float, page: str, size: int, name: str = "x") -> bytes:
    return json.dumps({"at": at, "page": page, "bytes": size, "id": name}).encode()


def records(lines: list[tuple[bytes | None, int]], key: bytes | None = None) -> pl.DataFrame:
    rows = [(key, value, 0, number, arrived) for number, (value, arrived) in enumerate(lines)]
    return pl.DataFrame(rows, schema=RECORDS, orient="row")


Rows = dict[tuple[str, int], tuple[int, int]]


def recount(lines: list[tuple[bytes | None, int]], *, once: bool) -> tuple[Rows, list[tuple[int, str]]]:
    """Page and hour to views and bytes, and the rejected lines; one at a time."""
    views: Counter[tuple[str, int]] = Counter()
    sizes: Counter[tuple[str, int]] = Counter()
    rejected = []
    newest: float | None = None
    known: set[str] = set()
    for number, (value, arrived) in enumerate(lines):
        try:
            one = json.loads(value or b"")
        except ValueError:
            rejected.append((number, "no_value" if value is None else "unreadable"))
            continue
        at = int(one["at"] * 1000)
        if at > arrived + 300_000:
            rejected.append((number, "future"))
        elif newest is not None and at < newest - 3_600_000:
            rejected.append((number, "too_late"))
        else:
            newest = at if newest is None else max(newest, at)
            if once and one["id"] in known:
                continue
            known.add(one["id"])
            views[one["page"], at // 3_600_000] += 1
            sizes[one["page"], at // 3_600_000] += one["bytes"]
    return {key: (count, sizes[key]) for key, count in views.items()}, rejected


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[tuple[bytes | None, int]], list[int]]:
    lines: list[tuple[bytes | None, int]] = []
    at = START
    for number in range(draw(st.integers(1, 40))):
        at += draw(st.sampled_from([0, 1, 600, 1800, 3599, 3600]))
        when = at - draw(st.sampled_from([0, 0, 0, 0.25, 3599, 3600, 3600.5, 7200, -300, -301]))
        line = view(
            when, draw(st.sampled_from(["/", "/ß", ""])), draw(st.sampled_from([0, -5, 10**12])), f"n{number}"
        )
        lines.append((draw(st.sampled_from([line] * 8 + [b"", b"\xff", None])), at * 1000))
    for number in draw(st.lists(st.integers(0, len(lines) - 1), max_size=8)):
        lines.insert(draw(st.integers(number + 1, len(lines))), lines[number])
    return lines, sorted(draw(st.lists(st.integers(0, len(lines) - 1), max_size=6)))


@settings(max_examples=100, deadline=None)
@given(histories(), st.booleans())
def test_any_history_cut_anywhere_equals_a_recount(
    history: tuple[list[tuple[bytes | None, int]], list[int]], once: bool
) -> None:
    lines, cuts = history
    fold = ONCE if once else FOLD
    state, rows, rejected = fold.empty(), Rows(), list[tuple[int, str]]()
    for begin, end in pairwise([0, *cuts, len(lines)]):
        done = fold.fold(state, records(lines[begin:end]))
        state = fold.unpack(fold.pack(done.state))
        assert fold.pack(state) == fold.pack(done.state)
        for page, start, _, views, size in done.facts.iter_rows():
            rows[page, int(start.timestamp()) // 3600] = (views, size)
        rejected += [(begin + row, reason) for row, reason, _ in done.rejected.iter_rows()]
    assert (rows, rejected) == recount(lines, once=once)


def test_facts_have_the_columns_of_a_dataset() -> None:
    done = FOLD.fold(
        FOLD.empty(), records([(view(START, "/", 7), START * 1000), (view(START, "/", 5), START * 1000)])
    )
    assert done.facts.to_dicts() == [
        {
            "page": "/",
            "window_start": datetime(2026, 3, 1, 12, tzinfo=UTC),
            "window_end": datetime(2026, 3, 1, 13, tzinfo=UTC),
            "views": 2,
            "bytes": 12,
        }
    ]
    assert {name: clock.newest_at for name, clock in done.clocks.items()} == {"views": START}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"{}", "KeyError: 'at'"),
        (b"[]", "TypeError: list indices"),
        (view(START, "/", 1).replace(b'"/"', b"5"), "page is 5, not a text"),
        (view(START, "/", 1).replace(b'"bytes": 1', b'"bytes": 1.5'), "bytes is 1.5, not a whole number"),
        (view(START, "/", 10**12 + 1), "not a whole number of at most 12 digits"),
        (view(START, "/", 1).replace(b'"bytes": 1', b'"bytes": true'), "bytes is True"),
        (view(1e300, "/", 1), "OverflowError"),
        (None, "a message without a value"),
    ],
)
def test_a_record_that_cannot_be_read_costs_only_itself(line: bytes | None, words: str) -> None:
    good = (view(START, "/", 1), START * 1000)
    done = FOLD.fold(FOLD.empty(), records([good, (line, START * 1000), good]))
    ((row, _, detail),) = done.rejected.rows()
    assert row == 1
    assert words in detail
    assert done.facts["views"].to_list() == [2]


def test_a_time_without_a_zone_is_refused() -> None:
    naive = HourlyTotals("n", lambda _: {"at": datetime(2026, 3, 1), "page": "/"}, keys=("page",))
    done = naive.fold(naive.empty(), records([(b"", START * 1000)]))
    assert "not a time with a zone" in done.rejected["detail"][0]


def test_the_end_of_input_ends_the_source() -> None:
    done = FOLD.fold(FOLD.empty(), records([(view(START, "/", 1), START * 1000)]))
    done = FOLD.fold(done.state, records([(b"", START * 1000)], key=END_OF_INPUT))
    assert [clock.ended for clock in done.clocks.values()] == [True]
    assert done.rejected.is_empty()


def test_what_is_carried_is_bounded_by_the_open_hours() -> None:
    state: Any = ONCE.empty()
    for hour in range(40):
        at = START + hour * 3600
        lines = [(view(at + n, "/" + "ab"[n % 2], 1, f"{hour}-{n}"), (at + n) * 1000) for n in range(100)]
        state = ONCE.fold(state, records(lines)).state
    assert state.seen.height <= 200
    assert state.hours.height <= 4


def test_it_goes_to_executors_and_knows_its_own_state() -> None:
    assert pickle.loads(pickle.dumps(FOLD)) == FOLD
    with pytest.raises(StateSchemaError, match="another app's"):
        HourlyTotals("other", parse, keys=("page",)).unpack(FOLD.pack(FOLD.empty()))
